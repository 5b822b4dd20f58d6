"""What went wrong on the cluster, in one line."""


def cause(error: BaseException) -> str:
    """The first fault behind an error of Ray's."""
    failures = getattr(error, "worker_failures", None)  # of Ray Train's WorkerGroupError
    if failures:
        error = next(iter(failures.values()))
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"
