"""Errors that are not bugs: the message of each is one sentence for the user."""


class ColorganError(Exception):
    """A fault that the user can fix: the message names the cause and the way out.

    The command line prints the message and exits with status 1, without a traceback.
    """


class ConfigError(ColorganError, ValueError):
    """An option has an invalid value; the command line exits with status 2."""


class NotInStorage(ColorganError):  # noqa: N818 - the names read well without "Error"
    """Nothing is stored under the requested name."""


class StorageUnavailable(ColorganError):  # noqa: N818
    """The storage does not respond or is overloaded; a retry may succeed."""


class Held(ColorganError):  # noqa: N818
    """Another process works on the same thing."""


class Corrupt(ColorganError):  # noqa: N818
    """A stored object is not what was written: it is truncated, or its checksum does not match."""


class TrainingDiverged(ColorganError):  # noqa: N818
    """A loss is no longer finite."""


class ImageRejected(ColorganError):  # noqa: N818
    """A photograph that cannot be used.

    Attributes:
        reason: the kind of fault, from a small fixed set so that faults can be counted
            ("truncated", …).
        detail: what exactly was found; empty if the reason says it all.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail


class ProcessDied(RuntimeError):  # noqa: N818
    """A process that helped has died: nothing is wrong with what it did, and a retry may succeed.

    The command line prints the message as that of a ColorganError; a cluster tries again.
    """


class WorkerLost(ColorganError):  # noqa: N818
    """A training's worker cannot go on, and the others may wait for it: its process must end.

    The others, whose connection to it breaks, then end as well.
    """
