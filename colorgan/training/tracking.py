"""Experiment trackers: MLflow, Weights & Biases and TensorBoard follow the trainings of a run.

They are fed by the process that shows the progress, from the library's records: the parameters of
each training, its metrics after every epoch, samples, and the package as an artefact. A tracker
that fails ends the tracking, and never the training.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from colorgan.errors import ColorganError, ConfigError
from colorgan.packages.card import find
from colorgan.storage import Storage
from colorgan.temporary import temporary_folder

TRACKERS = ("mlflow:URI", "wandb", "tensorboard:FOLDER")

_PROJECT = "colorgan"  # MLflow's experiment, and the project of Weights & Biases
_CLOSE_SECONDS = 120.0  # for a tracker to take what was recorded last

Files = Mapping[str, bytes]
Values = Mapping[str, Any]


class Tracker(Protocol):
    """A tracker of the trainings of one run. A training that goes on is found by its name."""

    def begin(self, training: str, parameters: Values) -> None:
        """Begin a training, or go on with it."""
        ...

    def log(self, training: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of an epoch, counted from 1."""
        ...

    def keep(self, training: str, epoch: int, files: Files) -> None:
        """Keep files: pictures as samples, and everything else as artefacts, by path."""
        ...

    def end(self, training: str, status: str) -> None:
        """End a training: `done`, `stopped` or `failed`."""
        ...


class MlflowTracker:
    """A run of MLflow for each training, in the experiment `colorgan`."""

    def __init__(self, uri: str, run: str) -> None:
        """Find or create the experiment at a tracking URI, such as http://host:5000 or file:."""
        mlflow = _extra("mlflow", "mlflow")
        self._entities = importlib.import_module("mlflow.entities")
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        self._run = run
        found = self._client.get_experiment_by_name(_PROJECT)
        self._experiment = (
            found.experiment_id if found else self._client.create_experiment(_PROJECT)
        )
        self._ids: dict[str, str] = {}

    def begin(self, training: str, parameters: Values) -> None:
        """Begin a run, or take up the one with the same name and parameters."""
        name = f"{self._run}/{training}"
        before = self._client.search_runs(
            [self._experiment], filter_string=f"tags.mlflow.runName = '{name}'", max_results=1
        )
        if before:
            self._ids[training] = before[0].info.run_id
            self._client.update_run(self._ids[training], status="RUNNING")
        else:
            created = self._client.create_run(self._experiment, run_name=name)
            self._ids[training] = created.info.run_id
        known = before[0].data.params if before else {}
        for key, value in parameters.items():
            if key not in known:  # MLflow lets no parameter change
                self._client.log_param(self._ids[training], key, value)

    def log(self, training: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch's metrics."""
        for key, value in metrics.items():
            self._client.log_metric(self._ids[training], key, value, step=epoch)

    def keep(self, training: str, epoch: int, files: Files) -> None:
        """Keep files as artefacts."""
        with temporary_folder("artefacts") as folder:
            _write(folder, files)
            self._client.log_artifacts(self._ids[training], str(folder))

    def end(self, training: str, status: str) -> None:
        """Set the run's status."""
        words = {"done": "FINISHED", "stopped": "KILLED"}.get(status, "FAILED")
        self._client.set_terminated(self._ids[training], words)


class WandbTracker:
    """A run of Weights & Biases for each training, in the group of the run."""

    def __init__(self, run: str) -> None:
        """Import wandb, which reads its account and mode from the environment."""
        self._wandb = _extra("wandb", "wandb")
        self._run = run
        self._runs: dict[str, Any] = {}

    def begin(self, training: str, parameters: Values) -> None:
        """Begin a run, or resume the one of the same name."""
        name = f"{self._run}-{training}"
        self._runs[training] = self._wandb.init(
            project=_PROJECT,
            group=self._run,
            name=name,
            id=name,
            resume="allow",
            config=dict(parameters),
            reinit="create_new",
        )

    def log(self, training: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch's metrics."""
        self._runs[training].log(dict(metrics), step=epoch)

    def keep(self, training: str, epoch: int, files: Files) -> None:
        """Keep pictures as images, and all files as an artefact."""
        wandb, run = self._wandb, self._runs[training]
        with temporary_folder("artefacts") as folder:
            paths = _write(folder, files)
            pictures = {
                path.stem: wandb.Image(str(path)) for path in paths if _is_picture(path.name)
            }
            if pictures:
                run.log(pictures, step=epoch)
            if len(pictures) < len(paths):
                artefact = wandb.Artifact(f"{self._run}-{training}", type="model")
                artefact.add_dir(str(folder))
                run.log_artifact(artefact)

    def end(self, training: str, status: str) -> None:
        """Finish the run."""
        self._runs.pop(training).finish(exit_code=0 if status == "done" else 1)


class TensorboardTracker:
    """Events and files of each training in FOLDER/<run>/<training>."""

    def __init__(self, folder: Path, run: str) -> None:
        """Take the folder; raises ConfigError if it cannot be written to."""
        self._folder = folder / run
        self._writers: dict[str, Any] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--track tensorboard:{folder}: {error.strerror}") from None

    def begin(self, training: str, parameters: Values) -> None:
        """Write the parameters as text."""
        from torch.utils.tensorboard.writer import SummaryWriter  # takes a second

        self._writers[training] = SummaryWriter(str(self._folder / training))
        lines = "\n".join(f"| {name} | {value} |" for name, value in parameters.items())
        self._writers[training].add_text("parameters", f"| name | value |\n| --- | --- |\n{lines}")

    def log(self, training: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch's metrics as scalars."""
        for name, value in metrics.items():
            self._writers[training].add_scalar(name, value, epoch)
        self._writers[training].flush()

    def keep(self, training: str, epoch: int, files: Files) -> None:
        """Add pictures as images, and write all other files beside the events."""
        from colorgan.images.decoding import decode

        for name, data in files.items():
            if _is_picture(name):
                rgb = decode(data).rgb
                self._writers[training].add_image(Path(name).stem, rgb, epoch, dataformats="HWC")
        _write(self._folder / training, {n: d for n, d in files.items() if not _is_picture(n)})
        self._writers[training].flush()

    def end(self, training: str, status: str) -> None:
        """Close the events file."""
        writer = self._writers.pop(training)
        writer.add_text("status", status)
        writer.close()


class Tracking:
    """Feeds trackers in a thread of its own, so that a slow one never holds up a training."""

    def __init__(
        self, trackers: Sequence[Tracker] = (), say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Take the trackers, and what prints a line when one fails."""
        self._trackers = list(trackers)
        self._say = say
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tracking") if trackers else None
        self._waiting: list[Future[None]] = []
        self._epochs: dict[str, int] = {}

    def begin(self, training: str, parameters: Values) -> None:
        """Begin a training, once; see `Tracker`."""
        if training not in self._epochs:
            self._epochs[training] = 0
            self._do(lambda each: each.begin(training, parameters))

    def epoch(self, training: str, values: Values) -> None:
        """Add the numbers of an epoch's record, whose number is `epoch`."""
        number = int(values["epoch"])
        self._epochs[training] = number
        metrics = {
            name: float(value)
            for name, value in values.items()
            if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
        }
        self._do(lambda each: each.log(training, number, metrics))

    def pictures(self, training: str, read: Callable[[], Files]) -> None:
        """Add samples of the last epoch; `read` is called in the tracking's thread."""
        if training in self._epochs:
            number = self._epochs[training]
            self._do(lambda each: each.keep(training, number, read()))

    def end(self, training: str, status: str, storage: Storage, package: str | None = None) -> None:
        """End a training, with its package as an artefact if there is one."""
        if training not in self._epochs:
            return
        if package:
            self.pictures(training, lambda: package_files(storage, package))
        del self._epochs[training]
        self._do(lambda each: each.end(training, status))

    def close(self) -> None:
        """Wait, for two minutes at most, until the trackers have taken everything."""
        if self._thread:
            wait(self._waiting, _CLOSE_SECONDS)
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _do(self, step: Callable[[Tracker], None]) -> None:
        if self._thread:
            self._waiting = [each for each in self._waiting if not each.done()]
            self._waiting.append(self._thread.submit(self._step, step))

    def _step(self, step: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                step(tracker)
            except Exception as error:  # each client raises its own
                self._trackers.remove(tracker)
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                self._say(f"note: {type(tracker).__name__} has failed and is left out: {reason}")


def open_tracking(
    addresses: Sequence[str], run: str, say: Callable[[str], None] = lambda line: None
) -> Tracking:
    """Open the trackers that a user names.

    Args:
        addresses: each one of TRACKERS.
        run: the run's or the sweep's name.
        say: prints a line.

    Raises:
        ConfigError: there is no such tracker, or its extra is not installed.
        ColorganError: the tracker does not answer.
    """
    trackers: list[Tracker] = []
    for address in addresses:
        kind, _, place = address.partition(":")
        if kind == "mlflow" and place:
            try:
                trackers.append(MlflowTracker(place, run))
            except ColorganError:
                raise
            except Exception as error:  # MLflow's, and those of its HTTP client
                reason = (str(error).splitlines() or [""])[0]
                raise ColorganError(f"--track {address}: {reason}") from None
        elif address == "wandb":
            trackers.append(WandbTracker(run))
        elif kind == "tensorboard" and place:
            trackers.append(TensorboardTracker(Path(place), run))
        else:
            raise ConfigError(f"--track {address}: choose from {', '.join(TRACKERS)}")
    return Tracking(trackers, say)


def package_files(storage: Storage, package: str) -> Files:
    """The files of a package: its samples under their own name, the rest in `package/`."""
    card = find(storage, package)
    folder = f"models/{card.model}/{card.version}"
    files = {name: storage.get(f"{folder}/{name}") for name in (*card.files, "model.json")}
    return {
        (name if _is_picture(name) else f"package/{name}"): each for name, each in files.items()
    }


def _is_picture(name: str) -> bool:
    return name.endswith((".png", ".webp"))


def _write(folder: Path, files: Files) -> list[Path]:
    paths = []
    for name, data in files.items():
        paths.append(folder / name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(data)
    return paths


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--track {module} needs an extra ({error}): pip install 'colorgan[{extra}]'"
        ) from None
