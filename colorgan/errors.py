"""What can go wrong through no fault of the code: each error is one sentence for its user."""


class ColorganError(Exception):
    """A fault that the user can mend: the message names the thing and the way out.

    The command line prints the message and exits with status 1, without a traceback.
    """


class ConfigError(ColorganError, ValueError):
    """An option whose value cannot be used; the command line exits with status 2."""


class NotInStorage(ColorganError):  # noqa: N818 - the names read as what they say
    """Nothing is stored under the name that was asked for."""


class StorageUnavailable(ColorganError):  # noqa: N818
    """The storage does not answer, or has too much to do; the same may succeed in a moment."""


class Corrupt(ColorganError):  # noqa: N818
    """What is stored is not what was written: cut short, or its checksum does not match."""


class TrainingDiverged(ColorganError):  # noqa: N818
    """A loss stopped being a finite number."""


class ImageRejected(ColorganError):  # noqa: N818
    """A photograph that cannot be used.

    Attributes:
        reason: the kind of fault, one of a few words that can be counted ("truncated", …).
        detail: what exactly was found; empty when the reason says it all.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail
