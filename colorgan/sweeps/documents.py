"""A sweep: one model trained with different hyper-parameters, and looked at on the way.

runs/<sweep>/sweep.json                                     what is swept: see Sweep
runs/<sweep>/photographs/<photo>/{gray,original}.webp       what every trial colours
runs/<sweep>/trials/<trial>/trial.json                      how it stands: see TrialState
runs/<sweep>/trials/<trial>/history.json                    its epochs: see History
runs/<sweep>/trials/<trial>/checkpoints/…                   from which it goes on
runs/<sweep>/trials/<trial>/epochs/<epoch>/<photo>.webp     the photographs as it coloured them
runs/<sweep>/trials/<trial>/epochs/<epoch>/generator.safetensors
runs/<sweep>/trials/<trial>/epochs/<epoch>/version-….json   what it is published as, if it is
runs/<sweep>/tensorboard/<trial>/events.out.tfevents.<epoch>
runs/<sweep>/results.csv                                    a line for every trial and epoch
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from colorgan.data.dataset import Dataset, Row
from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.evaluate import photo_id
from colorgan.images.decoding import decode, encode_webp
from colorgan.inference.colorizer import grayscale
from colorgan.names import check_name
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.storage import Storage
from colorgan.storage.documents import read_document
from colorgan.training.config import TrainingConfig, stored_config
from colorgan.training.records import EpochRecord

SCHEMA_VERSION = 1
SHOWN = 8  # photographs that every trial colours at every evaluated epoch

# By name: what a trial is judged by, and whether less of it is better.
METRICS = {
    "val_l1": True,
    "val_psnr": False,
    "semantic": False,
    "frechet": True,
    "hue_frechet": True,
}


# What evaluated epochs alone have.
JUDGED = ("semantic", "frechet", "hue_frechet", "colorfulness")


@dataclass(frozen=True)
class TrialPlan:
    """One training of a sweep.

    Attributes:
        name: unique within the sweep.
        values: the hyper-parameters that the sweep varies, as this trial starts with them.
    """

    name: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What is swept: a sweep's sweep.json.

    Attributes:
        name: the sweep's.
        created: UTC, ISO 8601.
        dataset: name and fingerprint.
        model: a class, `general` or `hypercolumn`.
        training: the hyper-parameters that no trial varies, and the defaults of the others.
        trials: what each trial varies.
        eval_every: epochs from one evaluation to the next; the last epoch always is one.
        classifier: that gives the semantic score and the features of the Fréchet distance; empty
            for neither.
        photographs: of the validation split, that every trial colours: see `photo_id`.
    """

    name: str
    created: str
    dataset: dict[str, str]
    model: str
    training: TrainingConfig
    trials: tuple[TrialPlan, ...]
    eval_every: int
    classifier: str
    photographs: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION

    def trial(self, name: str) -> TrialPlan:
        """A trial by its name; raises NotInStorage."""
        for trial in self.trials:
            if trial.name == name:
                return trial
        known = ", ".join(trial.name for trial in self.trials)
        raise NotInStorage(f"sweep {self.name!r} has no trial {name!r}: there are {known}")

    def config(self, values: Mapping[str, Any]) -> TrainingConfig:
        """All hyper-parameters of a trial of these values; raises ConfigError."""
        return self.training.replaced(values)

    def evaluates(self, epoch: int, config: TrainingConfig) -> bool:
        """Whether a trial is evaluated after an epoch."""
        return epoch % self.eval_every == 0 or epoch == config.epochs

    def key(self, *parts: str) -> str:
        """A key of the sweep's."""
        return "/".join((f"runs/{self.name}", *parts))

    def picture_key(self, trial: str, epoch: int, photo: str) -> str:
        """Where a trial's colouring of a photograph is."""
        return self.key("trials", trial, "epochs", f"{epoch:05d}", f"{photo}.webp")

    def weights_key(self, trial: str, epoch: int) -> str:
        """Where a trial's generator is, as it was after an evaluated epoch."""
        return self.key("trials", trial, "epochs", f"{epoch:05d}", "generator.safetensors")

    def photograph_key(self, photo: str, kind: str) -> str:
        """Where a photograph is, `gray` or `original`."""
        return self.key("photographs", photo, f"{kind}.webp")

    def to_json(self) -> bytes:
        """The contents of sweep.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Sweep":
        """Read a sweep.json; raises Corrupt where it is not one."""

        def build(fields: dict[str, Any]) -> "Sweep":
            trials = tuple(TrialPlan(**trial) for trial in fields["trials"])
            training = stored_config(fields["training"])
            photographs = tuple(fields["photographs"])
            return cls(
                **{**fields, "trials": trials, "training": training, "photographs": photographs}
            )

        return read_document(data, key, SCHEMA_VERSION, build)


@dataclass(frozen=True)
class TrialState:
    """How a trial stands: its trial.json.

    Attributes:
        status: "waiting", "running", "done", "stopped" (by the scheduler, before its last epoch),
            or "failed".
        values: as in its plan, but for what a scheduler has changed since.
        epoch: the last one done.
        updated: when this was written, in seconds since the Unix epoch.
        device: that it trains on.
        error: why it failed, in a sentence.
        inherited: what it took over from better trials, and when, a sentence each.
    """

    status: str = "waiting"
    values: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    updated: float = 0.0
    device: str = ""
    error: str = ""
    inherited: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.status in ("done", "stopped")


@dataclass(frozen=True)
class EvaluatedEpoch:
    """What a trial's generator was after an epoch, on the validation split.

    Attributes:
        epoch: counted from 1.
        seconds: of training until then, all epochs together.
        val_l1: mean absolute error in a and b of Lab.
        val_psnr: PSNR in sRGB, in dB.
        semantic: mean semantic score of the photographs whose class has labels; None where there
            are none, or no classifier.
        frechet: distance of the classifier's features from those of the originals; None without,
            and of few photographs.
        hue_frechet: the same after every colouring has been given its original's mean chroma.
        colorfulness: the mean colourfulness as a share of the originals'; None where those are
            gray.
    """

    epoch: int
    seconds: float
    val_l1: float
    val_psnr: float
    semantic: float | None
    frechet: float | None
    hue_frechet: float | None = None
    colorfulness: float | None = None

    @property
    def judged(self) -> dict[str, float | None]:
        """What evaluated epochs have beside the figures of every epoch."""
        return {name: getattr(self, name) for name in JUDGED}


@dataclass(frozen=True)
class History:
    """A trial's history.json: a record of every epoch, and of every evaluated one."""

    epochs: tuple[EpochRecord, ...] = ()
    evaluations: tuple[EvaluatedEpoch, ...] = ()


def create_sweep(storage: Storage, sweep: Sweep, rows: Sequence[Row]) -> bool:
    """Start a sweep, or go on with one of the same options.

    Args:
        storage: where sweeps are.
        sweep: what to sweep.
        rows: its photographs.

    Returns:
        Whether it had been started before.

    Raises:
        ConfigError: it was started with other options, or a trial's cannot be.
    """
    for trial in sweep.trials:
        base = sweep.config(trial.values).start_from
        if base and "@" not in base:
            raise ConfigError(f"--start-from {base}: a trial wants a package, as {base}@VERSION")
        if base:
            find(with_embedded(storage), base)
    key = sweep.key("sweep.json")
    if storage.exists(key):
        return _goes_on(storage, sweep)
    if storage.exists(sweep.key("run.json")):
        raise ConfigError(f"{sweep.name!r} is a run, no sweep: choose another --sweep")
    for row in rows:
        rgb = decode(row.image).rgb
        storage.put(sweep.photograph_key(photo_id(row), "original"), encode_webp(rgb))
        storage.put(sweep.photograph_key(photo_id(row), "gray"), encode_webp(grayscale(rgb)))
    # Another process may have started one of the same name in the meantime.
    return not storage.create(key, sweep.to_json()) and _goes_on(storage, sweep)


def _goes_on(storage: Storage, sweep: Sweep) -> bool:
    """True where the sweep in storage has the same options; raises ConfigError where it has not."""
    before, now = (asdict(each) for each in (open_sweep(storage, sweep.name), sweep))
    differing = [name for name in now if name != "created" and now[name] != before[name]]
    if differing:
        raise ConfigError(
            f"sweep {sweep.name!r} was started with another {', another '.join(differing)}: "
            "give the same to go on with it, or another --sweep"
        )
    return True


def open_sweep(storage: Storage, name: str) -> Sweep:
    """A sweep by its name.

    Raises:
        NotInStorage: there is none; the message lists those that there are.
        Corrupt: it cannot be read.
    """
    key = f"runs/{check_name('sweep', name)}/sweep.json"
    if not storage.exists(key):
        known = ", ".join(list_sweeps(storage))
        there = f"there are {known}" if known else "python jobs/sweep.py makes one"
        raise NotInStorage(f"no sweep {name!r} in {storage.uri}: {there}")
    return Sweep.from_json(storage.get(key), key)


def list_sweeps(storage: Storage) -> list[str]:
    """The names of the sweeps in storage."""
    return [run for run in storage.folders("runs") if storage.exists(f"runs/{run}/sweep.json")]


def shown_rows(dataset: Dataset, model: str) -> list[Row]:
    """The photographs of the validation split that a sweep shows, spread evenly over it.

    Raises:
        ColorganError: the model has none.
    """
    classes = dataset.model_classes(model)
    count = dataset.check_split(classes, "val")
    shown = min(SHOWN, count)
    places = {place * count // shown for place in range(shown)}
    rows = enumerate(dataset.rows(classes, "val"))
    return [row for place, row in rows if place in places]


def read_state(storage: Storage, sweep: Sweep, trial: str) -> TrialState:
    """How a trial stands; raises Corrupt."""
    key = sweep.key("trials", trial, "trial.json")
    if not storage.exists(key):
        return TrialState(values=sweep.trial(trial).values)

    def build(fields: dict[str, Any]) -> TrialState:
        del fields["schema_version"]
        return TrialState(**{**fields, "inherited": tuple(fields["inherited"])})

    return read_document(storage.get(key), key, SCHEMA_VERSION, build)


def write_state(storage: Storage, sweep: Sweep, trial: str, state: TrialState) -> None:
    """Write how a trial stands, as of now."""
    fields = asdict(replace(state, updated=time.time()))
    document = {**fields, "schema_version": SCHEMA_VERSION}
    key = sweep.key("trials", trial, "trial.json")
    storage.put(key, (json.dumps(document, indent=2) + "\n").encode())


def read_history(storage: Storage, sweep: Sweep, trial: str) -> History:
    """A trial's epochs until now; raises Corrupt."""
    key = sweep.key("trials", trial, "history.json")
    if not storage.exists(key):
        return History()

    def build(fields: dict[str, Any]) -> History:
        return History(
            tuple(EpochRecord(**each) for each in fields["epochs"]),
            tuple(EvaluatedEpoch(**each) for each in fields["evaluations"]),
        )

    return read_document(storage.get(key), key, SCHEMA_VERSION, build)


def write_history(storage: Storage, sweep: Sweep, trial: str, history: History) -> None:
    """Write a trial's epochs until now."""
    document = {**asdict(history), "schema_version": SCHEMA_VERSION}
    data = json.dumps(document, indent=1) + "\n"
    storage.put(sweep.key("trials", trial, "history.json"), data.encode())


def in_words(values: Mapping[str, Any]) -> str:
    """Hyper-parameters in a line."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
