"""One-line messages for errors raised by Ray."""


def cause(error: BaseException) -> str:
    """The type and message of the exception that caused a Ray error, in one line."""
    failures = getattr(error, "worker_failures", None)  # set by Ray Train's WorkerGroupError
    if failures:
        error = next(iter(failures.values()))
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"
