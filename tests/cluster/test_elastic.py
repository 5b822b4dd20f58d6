"""A training whose number of workers follows the machines that there are."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.local import LocalRay, free_ports
from colorgan.data.dataset import Dataset
from tests.conftest import CHECKOUT, OWN_PORTS, PATIENT_RAY, Jobs, patient_ray, summary
from tests.warm.client import WarmStart


@contextlib.contextmanager
def second_machine(ray: LocalRay, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another machine of a cluster, with one CPU; to be killed, or else it is at the end."""
    (agent_port,) = free_ports(1)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    command += [f"--address={ray.address}", f"--dashboard-agent-listen-port={agent_port}"]
    environment = {**os.environ, **PATIENT_RAY, **ray.environment}
    del environment["COLORGAN_WARM"]  # its workers are its own children, which die with it
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *OWN_PORTS],
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a machine: all its processes at once, without a notice."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


@pytest.mark.slow
def test_a_training_grows_with_a_machine_that_joins_and_goes_on_without_one_that_dies(
    scenes: Dataset, warm: WarmStart, tmp_path: Path
) -> None:
    options = ("--storage", scenes.storage.uri, "--dataset", "scenes", "--run", "r")
    options = (*options, "--models", "animals", "--epochs", "100000", "--checkpoint-every", "2")
    with patient_ray(warm, cpus=1) as ray:
        environment = {**os.environ, **ray.environment, "RAY_ADDRESS": ray.address}
        jobs = Jobs(warm, tmp_path, environment)
        job = jobs.start(*options, "--workers-per-model", "1-2", "--resize-every", "1")

        def of_its_end(pattern: str) -> str:
            """What matches a pattern after the last restart."""
            found = re.search(pattern, job.output.rpartition("restarting (")[2])
            return found.group(1) if found else ""

        job.wait_for(lambda: "animals: epoch 3/" in job.output)
        assert "1 to 2 workers of 1 CPU and 1 thread each" in job.output
        with second_machine(ray, tmp_path / "machine.log") as machine:
            job.wait_for(lambda: of_its_end(r"(2 workers from now on, 1 before\))"))
            job.wait_for(lambda: of_its_end(r"training \((.* process \d+ and .* process \d+)\)"))
            first = int(job.wait_for(lambda: of_its_end(r"animals: epoch (\d+)/")))
            assert first > 1, "it began from nothing"
            job.wait_for(lambda: f"animals: epoch {first + 2}/" in job.output)
            kill(machine)
        job.wait_for(lambda: of_its_end(r"(1 worker from now on, 2 before\))"))
        last = int(job.wait_for(lambda: of_its_end(r"animals: epoch (\d+)/")))
        assert last > first, "it began from nothing"
        assert not of_its_end(r"training \(.*( and )")
        job.process.send_signal(signal.SIGINT)
        job.finish()
    (result,) = summary(scenes.storage, "r")["models"]
    assert result["status"] == "stopped" and result["epochs"] >= last
    history = scenes.storage.get("runs/r/animals/history.csv").decode().splitlines()
    epochs = [int(line.split(",")[0]) for line in history[1:]]
    assert epochs == list(range(1, result["epochs"] + 1))
