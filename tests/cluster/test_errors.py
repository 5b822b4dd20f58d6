"""What a user reads of an error that Ray raised."""

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError, WorkerCrashedError

from cluster.errors import cause


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ActorUnavailableError("RpcError: failed to connect to all addresses", b"\0" * 16),
            "Ray on its machine has died or cannot be reached",
        ),
        (ActorDiedError(), "its process died"),
        (WorkerCrashedError(), "its process died"),
        (RayTaskError("f", "Traceback ...", ValueError("one\ntwo")), "ValueError: two"),
        (ValueError(), "ValueError: no message"),
    ],
)
def test_a_dead_process_is_said_without_rays_own_identifiers(
    error: BaseException, words: str
) -> None:
    assert cause(error) == words
