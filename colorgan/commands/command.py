"""The declaration of a command, which `colorgan` reads without importing the command."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command of `colorgan`.

    Another package adds a command with an entry point in the group `colorgan.commands`. The entry
    point has the name of the command and refers to an object of this class.

    Attributes:
        help: help text, a phrase that begins in lower case and has no full stop.
        module: module that defines the command; it is imported when the command is used.
        prepare: name of the function in this module that adds the command's options to its parser
            and sets the default `command` to a function that takes the parsed options and returns
            the exit status.
    """

    help: str
    module: str
    prepare: str
