"""What a job says while it waits, and what it leaves when it is killed, on a real Ray."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.code import check_code, code_version
from cluster.local import SHORT, LocalRay
from colorgan.errors import ColorganError
from colorgan.temporary import delete_abandoned
from tests.waiting import PATIENCE_S

CHECKOUT = Path(__file__).parents[2]


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


class Driver:
    """A process that connects to Ray and runs some code."""

    def __init__(self, code: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=CHECKOUT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line, apart from those that a loaded machine adds while Ray starts."""
        assert self.process.stdout
        while (line := self.process.stdout.readline().strip()).endswith(" s so far"):
            pass
        return line


@pytest.fixture
def start(ray_cluster: LocalRay) -> Iterator[Callable[..., Driver]]:
    """Starts drivers on the session's Ray."""
    with contextlib.ExitStack() as stack:

        def begin(code: str, **environment: str) -> Driver:
            address = {"RAY_ADDRESS": ray_cluster.address}
            driver = Driver(code, {**ray_cluster.environment, **address, **environment})
            stack.enter_context(driver.process)
            stack.callback(driver.process.kill)
            return driver

        yield begin


WAITS = """
from cluster import waiting
from cluster.connection import connected
waiting.FIRST_S = 0.5
with connected():
    import ray

    @ray.remote(num_cpus=2)
    class Holder:
        def held(self): pass

    holder = Holder.remote()
    ray.get(holder.held.remote())
    said = []

    def say(line):
        said.append(line)
        print(line, flush=True)
        ray.kill(holder)

    recorded = {}
    waiting.wait_for_place(2, 0, say, lambda what: recorded.setdefault(what))
    print("placed", len(said), ", ".join(recorded), flush=True)
"""


@pytest.mark.slow
def test_a_wait_for_a_free_machine_is_said_with_its_reason(start: Callable[..., Driver]) -> None:
    driver = start(WAITS)
    line = driver.line()
    assert line.startswith("no machine has had 2 CPU free for ")
    assert line.endswith("; `colorgan jobs` and `ray status` show what runs")
    assert driver.line() == "placed 1 2 CPU,"


QUEUES = """
import sys
from cluster import queue
from cluster.connection import connected
from cluster.planning import NodeResources, Plan
queue._FORGET_SECONDS = 1.0
with connected():
    client = queue.Queue("killed", 1.0, {"animals": Plan(False, 1, 1, 0, 1)})
    print(client.ask(["animals"], [NodeResources(2, 0)]), flush=True)
    sys.stdin.read()
"""
WATCHES = """
import time
from cluster.connection import connected
with connected():
    import ray

    def queues():
        # Ray Data's own actors, which other tests have begun, stay as long as Ray.
        named = ray.util.list_named_actors(all_namespaces=True)
        return [a["name"] for a in named if a["name"].startswith("colorgan")]

    while queues():
        time.sleep(0.1)
    print("ended", flush=True)
"""


@pytest.mark.slow
def test_the_queue_ends_when_its_last_job_was_killed(start: Callable[..., Driver]) -> None:
    driver = start(QUEUES)
    assert driver.line() == "{'animals': ''}"
    driver.process.kill()
    assert start(WATCHES).line() == "ended"


PRIVATE = """
import sys
from cluster.connection import connected
with connected("local"):
    print("connected", flush=True)
    sys.stdin.read()
"""


def processes_in(folder: Path) -> list[int]:
    """The processes whose command names a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process.pid)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_private_ray_leaves_no_process_and_no_file(killed: bool) -> None:
    sessions = set(SHORT.glob("ray/session_*"))  # of others, whose numbers may come again
    driver = Driver(PRIVATE, {"RAY_ADDRESS": ""})
    with driver.process:
        assert driver.line() == "connected"
        pid = driver.process.pid
        (owner,) = [
            path
            for path in SHORT.glob("colorgan-ray-*.owner.json")
            if json.loads(path.read_text())["pid"] == pid
        ]
        folder = SHORT / owner.name.removesuffix(".owner.json")
        assert processes_in(folder)
        assert not {*SHORT.glob(f"ray/session_*_{pid}")} - sessions
        if killed:
            driver.process.kill()
        else:
            driver.process.communicate(timeout=60)
        driver.process.wait(60)
    wait_for(lambda: not processes_in(folder))
    if killed:
        assert folder in delete_abandoned(SHORT)  # as the next start does
    assert not list(SHORT.glob(f"{folder.name}*"))


WHOSE = """
from cluster.connection import connected
with connected():
    import ray

    @ray.remote
    def whose():
        import colorgan
        return colorgan.__file__

    print(ray.get(whose.remote()), flush=True)
"""


@pytest.mark.slow
def test_tasks_run_the_code_of_their_driver_and_not_of_the_checkout_that_started_ray(
    start: Callable[..., Driver], tmp_path: Path
) -> None:
    for package in ("colorgan", "cluster", "tune"):
        shutil.copytree(
            CHECKOUT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("pretrained", "__pycache__"),
        )
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    # The driver's working directory is the checkout that started Ray, and does not decide.
    driver = start(WHOSE, PYTHONPATH=str(tmp_path), PYTHONSAFEPATH="1")
    assert driver.line() == str(tmp_path / "colorgan" / "__init__.py")


def test_other_code_is_refused_in_words() -> None:
    check_code(code_version())
    with pytest.raises(ColorganError, match=r"has another version of colorgan in .* than the job"):
        check_code(f"{'0' * 64} /elsewhere")
    with pytest.raises(ColorganError, match="has changed since the job began: start the job again"):
        check_code(f"{'0' * 64} {CHECKOUT}")
