"""Many jobs on a cluster that grows: Ray's autoscaler on its provider of pretended machines.

The autoscaler, the machines' Ray processes and the jobs are real; the machines are all this one.
"""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.local import LocalRay, free_ports
from colorgan.cli import main
from colorgan.packages.card import list_models
from colorgan.storage import Storage, open_storage
from colorgan.training.checkpoints import Checkpoints
from tests.cluster.job_server import alive, submit
from tests.conftest import SMALL, patient_ray, stage_scenes, summary
from tests.waiting import wait_until
from tests.warm.client import WarmStart

pytestmark = pytest.mark.slow

RUNNING = ("PENDING", "RUNNING")
HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"


@dataclass
class Growing:
    """A head without a CPU, up to two machines of one CPU each, and a storage."""

    ray: LocalRay
    storage: Storage

    def submit(self, run: str, *options: str) -> None:
        """Submit a job."""
        command = ("python", "jobs/train_all.py", "--storage", self.storage.uri, "--run", run)
        submit(self.ray, (*command, *SMALL, "--dataset", "scenes", *options))

    def jobs(self, *arguments: str) -> str:
        """What `colorgan jobs` prints."""
        variables = {
            **self.ray.environment,
            "RAY_ADDRESS": self.ray.jobs_address,
            "COLORGAN_STORAGE": self.storage.uri,
        }
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            for name, value in variables.items():
                patch.setenv(name, value)
            assert main(["jobs", *arguments]) == 0
        return printed.getvalue()

    def runs(self) -> dict[str, dict[str, Any]]:
        """What `colorgan jobs` says of the jobs that have begun to work on a run, by run."""
        jobs = json.loads(self.jobs("--all", "--json"))
        for job in jobs:
            assert job["status"] != "FAILED", self.jobs("logs", job["name"])
        return {job["run"]["run"]: job for job in jobs if job["run"]}

    def wait_for(self, condition: Callable[[dict[str, dict[str, Any]]], Any]) -> Any:
        """Wait until something is so with the runs."""
        return wait_until(lambda: condition(self.runs()), lambda: self.jobs("--all"), 1.0)


@pytest.fixture(scope="module")
def growing(warm: WarmStart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Growing]:
    folder = tmp_path_factory.mktemp("growing")
    storage = open_storage(str(folder / "storage"))
    stage_scenes(storage)
    (port,) = free_ports(1)
    config = folder / "autoscaling.json"
    nothing = ("initialization_commands", "setup_commands", "head_setup_commands")
    nothing += ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    nothing += ("cluster_synced_files", "rsync_exclude", "rsync_filter")
    config.write_text(
        json.dumps(
            {
                **{name: [] for name in nothing},
                "auth": {"ssh_user": "nobody"},
                "docker": {},
                "file_mounts": {},
                "file_mounts_sync_continuously": False,
                "upscaling_speed": 1.0,
                "cluster_name": "growing",
                "max_workers": 2,
                "idle_timeout_minutes": 5,
                "provider": {
                    "type": "external",  # Ray's wheel lacks the defaults of "fake_multinode"
                    "module": "ray.autoscaler._private.fake_multi_node.node_provider"
                    ".FakeMultiNodeProvider",
                    "gcs_address": f"127.0.0.1:{port}",
                    "head_node_id": HEAD,
                    "launch_multiple": True,
                },
                "head_node_type": "ray.head.default",
                "available_node_types": {
                    "ray.head.default": {
                        "resources": {"CPU": 0},
                        "node_config": {},
                        "max_workers": 0,
                    },
                    "worker": {
                        "resources": {"CPU": 1, "object_store_memory": 200_000_000},
                        "node_config": {},
                        "min_workers": 0,
                        "max_workers": 2,
                    },
                },
            }
        )
    )
    variables = {
        "COLORGAN_AUTOSCALING": str(config),
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }
    options = (f"--autoscaling-config={config}",)
    with patient_ray(warm, 0, port, options, variables) as ray:
        yield Growing(ray, storage)


@pytest.fixture(scope="module")
def four_jobs(growing: Growing) -> dict[str, list[dict[str, Any]]]:
    """The results of four jobs that were submitted one right after the other, by run."""
    assert len(alive(growing.ray)) == 1
    # It trains until the others are seen to wait.
    growing.submit("a", "--models", "animals", "people", "--epochs", "100000")
    growing.wait_for(lambda runs: "a" in runs)  # or b's process might be quicker to ask
    for run, model in (("b", "animals"), ("c", "people"), ("d", "vehicles")):
        growing.submit(run, "--models", model, "--epochs", "2")
    # d's process may have been quicker to start than c's, which stands before it all the same.
    growing.wait_for(
        lambda runs: (
            "d" in runs and runs["d"]["run"]["models"][0]["detail"] == "2 ahead; run a is training"
        )
    )
    # The others may well wait before a's workers have started: a stop then would leave no start.
    growing.wait_for(lambda runs: all(model["epoch"] for model in runs["a"]["run"]["models"]))
    print("\n" + growing.jobs())
    growing.jobs("stop", "a")
    growing.wait_for(lambda runs: all(job["status"] not in RUNNING for job in runs.values()))
    return {run: summary(growing.storage, run)["models"] for run in "abcd"}


def test_four_jobs_share_two_places_in_the_order_of_their_submission(
    growing: Growing, four_jobs: dict[str, list[dict[str, Any]]]
) -> None:
    models = [model for run in "abcd" for model in four_jobs[run]]
    begins = [model["started"] for model in models]
    assert [model["status"] for model in models] == ["stopped"] * 2 + ["done"] * 3
    # a's two models, then those of b and c, then d's.
    first, second, third = begins[:2], begins[2:4], begins[4:]
    assert max(first) < min(second) and max(second) < min(third)
    assert max(first) < min(model["ended"] for model in models[:2]), "a's two took turns"
    for model in models:  # never more than two at once
        others = [m for m in models if m["started"] <= model["started"] < m["ended"]]
        assert len(others) <= 2, models


def test_a_model_that_waits_starts_on_a_machine_that_joins_late(
    growing: Growing, four_jobs: dict[str, list[dict[str, Any]]]
) -> None:
    # When the jobs were submitted there was the head alone, which has no CPU to train on.
    assert len(alive(growing.ray)) == 3


def test_a_stopped_job_keeps_its_last_epoch(growing: Growing) -> None:
    options = ("--models", "animals", "people", "--max-parallel", "1", "--checkpoint-every", "1000")
    growing.submit("long", *options, "--epochs", "1000")
    growing.wait_for(lambda runs: "long" in runs and runs["long"]["run"]["models"][0]["epoch"] > 2)
    assert growing.runs()["long"]["run"]["models"][1]["state"] == "waiting"
    output = growing.jobs("stop", "long")
    assert "stopped" in output
    log = growing.jobs("logs", "long")
    assert "run the same command with --run long to continue" in log
    animals, people = summary(growing.storage, "long")["models"]
    assert (animals["status"], people["status"]) == ("stopped", "stopped")
    # All epochs but the one that was cut short, though no checkpoint was due.
    assert animals["epochs"] == max(map(int, re.findall(r"animals: epoch (\d+)/1000", log)))
    assert Checkpoints(growing.storage, "runs/long/animals").last() == animals["epochs"]
    assert not any(card.run == "long" for card in list_models(growing.storage))
