import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest
import torch

from cluster.local import LocalRay, local_ray
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.sources import SceneSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.errors import ColorganError
from colorgan.packages.card import find
from colorgan.packages.embedded import EmbeddedStorage
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage, open_storage
from colorgan.training.config import TrainingConfig
from colorgan.training.networks import create_generator
from scripts.pretrained import embed
from tests.browser import browser, shoot  # noqa: F401 - fixtures of every test
from tests.s3_server import S3Server, s3_server
from tests.waiting import PATIENCE_S, Found, wait_until
from tests.warm.client import WarmProcess, WarmStart, warm_start

CHECKOUT = Path(__file__).parents[1]

# The files that take the longest, in this order. They are begun first (`--no-loadscope-reorder`),
# so that the processes of `make test` end at about the same time.
LONGEST = (
    "jobs/test_reproduce.py",
    "jobs/test_train_all.py",
    "inference/test_compilation.py",
    "cluster/test_autoscaling.py",
    "jobs/test_train_all_faults.py",
    "jobs/test_sweep_job.py",
    "test_benchmarks.py",
    "jobs/test_evaluate_job.py",
    "export/test_onnx.py",
    "test_gpu_script.py",
    "serve/test_app.py",
    "test_pretrained_script.py",
    "data/test_bad_web.py",
    "jobs/test_stage_job.py",
    "commands/test_own_classes.py",
)

# The paths of the files with slow tests, in the stash of the session.
SLOW_FILES = pytest.StashKey[set[Path]]()

# Networks as small as they can be.
SIZES = ("--size", "32", "--width", "4", "--discriminator-width", "4")
SMALL = ("--preset", "small", *SIZES)


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Order the tests by `LONGEST`; then come the other files with slow tests, then the rest."""
    places = {CHECKOUT / "tests" / name: place for place, name in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (places.get(item.path, len(LONGEST)), item.path not in slow))
    session.stash[SLOW_FILES] = slow


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks are slower on two threads, and far slower on two threads that are not free."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLORGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_embedded_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test says of an empty storage holds whatever models come with the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLORGAN_PRETRAINED", str(tmp_path_factory.mktemp("pretrained")))
        yield


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(autouse=True)
def no_storage_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORGAN_STORAGE", raising=False)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


def stage_scenes(storage: Storage, name: str = "scenes", per_class: int = 24) -> Dataset:
    """A small dataset of scenes, 64 px high."""
    config = StagingConfig(size=64, min_side=32, val_share=0.2, test_share=0.2)
    return stage(SceneSource(per_class, seed=0, size=64), storage, name, config).dataset


@pytest.fixture(scope="session")
def staged_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a storage with a dataset of scenes; to be read only."""
    root = tmp_path_factory.mktemp("scenes")
    stage_scenes(open_storage(str(root)))
    return root


@pytest.fixture
def scenes(staged_scenes: Path, tmp_path: Path) -> Dataset:
    """A dataset of scenes in a storage of the test's own."""
    root = tmp_path / "storage"
    shutil.copytree(staged_scenes, root)
    return open_dataset(open_storage(str(root)), "scenes")


# What stands in for the models that come with colorgan: as they are, but small and untrained.
STAND_IN = TrainingConfig(
    generator="encoder_unet",
    encoder_rate=0.0,
    norm="batch",
    size=64,
    width=8,
    epochs=1,
    phases="regression",
)


@pytest.fixture(scope="session")
def stand_ins(staged_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as colorgan/pretrained, with a model of every class and a general one."""
    folder, root = (tmp_path_factory.mktemp(name) for name in ("stand-ins", "origin"))
    shutil.copytree(staged_scenes, root, dirs_exist_ok=True)
    dataset = open_dataset(open_storage(str(root)), "scenes")
    for seed, model in enumerate((*dataset.manifest.classes, "general")):
        torch.manual_seed(seed)
        trained = Trained(
            create_generator(STAND_IN, model).eval(),
            classes=dataset.model_classes(model),
            training=asdict(STAND_IN),
            metrics={"val_l1": 9.0, "val_psnr": 20.0},
            seconds=1.0,
            device="cpu",
            epochs=1,
            run="r",
            extra={"history.csv": b"epoch\n1\n", "samples.png": b"a picture"},
        )
        card = publish(dataset.storage, model, dataset, trained)
        embed(dataset.storage, card.reference, folder)
    return folder


@pytest.fixture
def embedded(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The stand-ins come with colorgan, also in the processes that a test starts."""
    monkeypatch.setenv("COLORGAN_PRETRAINED", str(stand_ins))
    return EmbeddedStorage()


# Ray's own time limits, which a loaded machine does not keep; and statistics of its processes that
# no test reads, every minute in place of every few seconds.
PATIENT_RAY = {
    "METRICS_RECORD_INTERVAL_S": "60",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "300",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "300",
}

# Workers listen on any free port, as two Rays of two test processes have the same default range.
OWN_PORTS = ("--min-worker-port=0", "--max-worker-port=0")

# No test reads what workers print, for which Ray would look at every log ten times a second.
NO_LOG_MONITOR = "--include-log-monitor=false"


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmStart]:
    """Starts processes that have imported the large libraries already, also for Ray."""
    with warm_start() as server:
        yield server


@contextlib.contextmanager
def patient_ray(
    warm: WarmStart,
    cpus: int,
    port: int | None = None,
    options: Sequence[str] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[LocalRay]:
    """`local_ray` in the checkout, which is started again where Ray's own time limit has passed."""
    variables = {**PATIENT_RAY, **warm.ray_variables, **variables}
    options = (*OWN_PORTS, NO_LOG_MONITOR, *options)
    with contextlib.ExitStack() as stack:
        for attempts_left in (2, 1, 0):
            try:
                started = local_ray(CHECKOUT, cpus, port, options, variables)
                ray = stack.enter_context(started)
                break
            except ColorganError:
                if not attempts_left:
                    raise
        yield ray


class SharedRay:
    """The test session's one Ray, which is started when a test first needs it."""

    def __init__(self, warm: WarmStart, s3: S3Server) -> None:
        self._warm, self._s3 = warm, s3
        self._stack = contextlib.ExitStack()
        self._ray: LocalRay | None = None

    def started(self) -> LocalRay:
        """Ray from the checkout, as a user would start it.

        Its processes have the object store's credentials, as machines have by an instance profile.
        """
        if self._ray is None:
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("COLORGAN_STORAGE", raising=False)
                # Not by this process's environment, which the tests that follow would have, too.
                started = patient_ray(self._warm, cpus=2, variables=self._s3.environment())
                self._ray = self._stack.enter_context(started)
        return self._ray

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._ray = None
        self._stack.close()


SHARED_RAY = pytest.StashKey[SharedRay]()


@pytest.fixture(scope="session")
def shared_ray(
    request: pytest.FixtureRequest, warm: WarmStart, s3: S3Server
) -> Iterator[SharedRay]:
    ray = request.session.stash[SHARED_RAY] = SharedRay(warm, s3)
    yield ray
    ray.stop()


@pytest.fixture(scope="module")
def ray_cluster(shared_ray: SharedRay) -> LocalRay:
    """The session's Ray."""
    return shared_ray.started()


@pytest.fixture(scope="module", autouse=True)
def no_idle_ray(request: pytest.FixtureRequest) -> None:
    """Stop Ray after the slow tests, since its processes take a core's time while they are idle."""
    stash = request.session.stash
    if SHARED_RAY in stash and request.path not in stash[SLOW_FILES]:
        stash[SHARED_RAY].stop()


def actors() -> dict[int, str]:
    """The names of the actors of this process's Ray, by process."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            name = "".join(process.cmdline()[:1])
            if name.startswith("ray::") and name != "ray::IDLE":
                found[process.pid] = name.removeprefix("ray::").split(".")[0]
    return found


@dataclass
class Job:
    """A running job, connected to the session's Ray."""

    process: subprocess.Popen[str] | WarmProcess
    log: Path

    def finish(self) -> int:
        return self.process.wait(PATIENCE_S)

    def wait_for(self, condition: Callable[[], Found]) -> Found:
        """Wait until something is so; fails if the job ends before."""

        def ask() -> Found:
            found = condition()
            assert found or self.process.poll() is None, self.output
            return found

        return wait_until(ask, lambda: self.output, 0.05)

    @property
    def output(self) -> str:
        return self.log.read_text()


@dataclass
class Jobs:
    """Starts jobs."""

    warm: WarmStart
    folder: Path
    environment: dict[str, str]

    def start(self, *options: str) -> Job:
        """A train_all job that is as small as it can be."""
        return self.start_script("train_all", *SMALL, *options)

    def start_script(self, script: str, *options: str) -> Job:
        log = self.folder / "job.log"
        with log.open("a") as output, Path(os.devnull).open() as nothing:
            process = self.warm.start(
                (f"jobs/{script}.py", *options),
                self.environment,
                CHECKOUT,
                (nothing, output, output),
            )
        return Job(process, log)

    def run(self, *options: str) -> Job:
        job = self.start(*options)
        job.finish()
        return job


@pytest.fixture
def jobs(warm: WarmStart, ray_cluster: LocalRay, tmp_path: Path) -> Jobs:
    environment = {**os.environ, **ray_cluster.environment, "RAY_ADDRESS": ray_cluster.address}
    return Jobs(warm, tmp_path, environment)


def summary(storage: Storage, run: str) -> dict[str, Any]:
    """A run's summary.json."""
    loaded: dict[str, Any] = json.loads(storage.get(f"runs/{run}/summary.json"))
    return loaded


def history_epochs(storage: Storage, model: str) -> list[int]:
    """The epochs that a package counts, `model@version`, or the released one of a model."""
    card = find(storage, model)
    lines = storage.get(f"models/{card.model}/{card.version}/history.csv").decode().splitlines()
    return [int(line.split(",")[0]) for line in lines[1:]]


def processes(word: str) -> list[psutil.Process]:
    """The processes that these tests have started and whose command has a word."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if word in " ".join(process.cmdline()):
                found.append(process)
    return found
