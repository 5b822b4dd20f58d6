"""One-line messages for errors raised by Ray."""

# What Ray says of processes that are gone names its own identifiers and ports. The keys are the
# names of its exceptions, because this module is used before Ray is imported.
_IN_WORDS = {
    "ActorDiedError": "its process died",
    "ActorUnavailableError": "Ray on its machine has died or cannot be reached",
    "LocalRayletDiedError": "Ray on this machine has died",
    "NodeDiedError": "its machine died, or Ray on it",
    "OwnerDiedError": "the process that started it died",
    "WorkerCrashedError": "its process died",
}


def cause(error: BaseException) -> str:
    """What caused a Ray error, in one line: in words, or the exception's type and message."""
    failures = getattr(error, "worker_failures", None)  # set by Ray Train's WorkerGroupError
    if failures:
        error = next(iter(failures.values()))
    cause = getattr(error, "cause", None) or error
    name = type(cause).__name__
    if name in _IN_WORDS:
        return _IN_WORDS[name]
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{name}: {lines[-1] if lines else 'no message'}"
