"""What `colorgan` knows of a command before it is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command of `colorgan`.

    Another package adds one by an entry point of the group `colorgan.commands`: its name is the
    command's, and it refers to an object of this class.

    Attributes:
        help: a phrase that begins in lower case, without a full stop.
        module: what defines the command; it is imported when the command is asked for.
        prepare: the function of this module that adds the command's options to its parser and sets
            the default `command` to a function from the parsed options to the exit status.
    """

    help: str
    module: str
    prepare: str
