"""A sweep: one model trained with different hyper-parameters, and evaluated during training.

runs/<sweep>/sweep.json                                     the sweep's plan: see Sweep
runs/<sweep>/photographs/<photo>/{gray,original}.webp       the photographs that trials colour
runs/<sweep>/trials/<trial>/trial.json                      its state: see TrialState
runs/<sweep>/trials/<trial>/history.json                    its epochs: see History
runs/<sweep>/trials/<trial>/checkpoints/…                   the state from which it continues
runs/<sweep>/trials/<trial>/epochs/<epoch>/<photo>.webp     its colourings of the photographs
runs/<sweep>/trials/<trial>/epochs/<epoch>/generator.safetensors
runs/<sweep>/trials/<trial>/epochs/<epoch>/version-….json   the version it is published as, if any
runs/<sweep>/population/epoch-<epoch>.json                  a round: see colorgan.sweeps.population
runs/<sweep>/tensorboard/<trial>/events.out.tfevents.<epoch>
runs/<sweep>/results.csv                                    one line per trial and epoch
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
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
SHOWN = 8  # photographs that every trial colours after every evaluated epoch

# The metrics that trials are compared by, and whether lower values are better.
METRICS = {
    "val_l1": True,
    "val_psnr": False,
    "semantic": False,
    "frechet": True,
    "hue_frechet": True,
}


# The metrics that only evaluated epochs have.
JUDGED = ("semantic", "frechet", "hue_frechet", "colorfulness")


@dataclass(frozen=True)
class TrialPlan:
    """One training of a sweep.

    Attributes:
        name: unique within the sweep.
        values: the trial's initial values of the hyper-parameters that the sweep varies.
    """

    name: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """The plan of a sweep: its sweep.json.

    Attributes:
        name: the sweep's name.
        created: time of creation, UTC, ISO 8601.
        dataset: name and fingerprint of the dataset.
        model: a class, `general`, `hypercolumn` or `cic`.
        training: the hyper-parameters that no trial varies, and the defaults of the others.
        trials: the trials.
        eval_every: epochs between evaluations; the last epoch is always evaluated.
        classifier: the classifier of the semantic score and of the Fréchet distance; empty for
            neither.
        photographs: ids of the validation photographs that every trial colours; see `photo_id`.
        scheduler: the scheduler, `none`, `asha` or `pbt`; empty in sweeps of versions that did not
            record it.
        metric: the metric of METRICS by which the scheduler compares trials; empty likewise.
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
    scheduler: str = ""
    metric: str = ""

    def trial(self, name: str) -> TrialPlan:
        """A trial by its name; raises NotInStorage."""
        for trial in self.trials:
            if trial.name == name:
                return trial
        known = ", ".join(trial.name for trial in self.trials)
        raise NotInStorage(f"sweep {self.name!r} has no trial {name!r}: there are {known}")

    def config(self, values: Mapping[str, Any]) -> TrainingConfig:
        """All hyper-parameters of a trial with these values; raises ConfigError."""
        return self.training.replaced(values)

    def evaluates(self, epoch: int, config: TrainingConfig) -> bool:
        """Whether a trial is evaluated after an epoch."""
        return epoch % self.eval_every == 0 or epoch == config.epochs

    def key(self, *parts: str) -> str:
        """The storage key of one of the sweep's files."""
        return "/".join((f"runs/{self.name}", *parts))

    def picture_key(self, trial: str, epoch: int, photo: str) -> str:
        """The key of a trial's colouring of a photograph after an evaluated epoch."""
        return self.key("trials", trial, "epochs", f"{epoch:05d}", f"{photo}.webp")

    def weights_key(self, trial: str, epoch: int) -> str:
        """The key of the weights of a trial's generator after an evaluated epoch."""
        return self.key("trials", trial, "epochs", f"{epoch:05d}", "generator.safetensors")

    def photograph_key(self, photo: str, kind: str) -> str:
        """The key of a photograph, whose kind is `gray` or `original`."""
        return self.key("photographs", photo, f"{kind}.webp")

    def to_json(self) -> bytes:
        """The contents of sweep.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Sweep":
        """Read a sweep.json; raises Corrupt if it is not one."""

        def build(fields: dict[str, Any]) -> "Sweep":
            trials = tuple(TrialPlan(**trial) for trial in fields["trials"])
            training = stored_config(fields["training"])
            photographs = tuple(fields["photographs"])
            return cls(
                **{**fields, "trials": trials, "training": training, "photographs": photographs}
            )

        return read_document(data, key, SCHEMA_VERSION, build)


@dataclass(frozen=True)
class Takeover:
    """What population-based training did to a trial after an epoch.

    Attributes:
        epoch: number of epochs that the trial and the donor had done.
        donor: the trial whose networks and optimisers it took over.
        before: its values until then; empty if an earlier version recorded it.
        values: its values since; likewise.
        own: the metric of the trial after that epoch; None if unknown.
        donors: the metric of the donor after that epoch; None if unknown.
    """

    epoch: int
    donor: str
    before: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    own: float | None = None
    donors: float | None = None


@dataclass(frozen=True)
class TrialState:
    """The state of a trial: its trial.json.

    Attributes:
        status: "waiting", "running", "paused" (until the other trials of its population have come
            as far), "interrupted" (the job was stopped), "done", "stopped" (by the scheduler,
            before its last epoch), or "failed".
        values: the values of its plan, with the changes of a scheduler since.
        epoch: number of epochs done.
        updated: time of writing, in seconds since the Unix epoch.
        device: the device that it trains on.
        error: the cause of a failure, in a sentence.
        takeovers: the states that it took over from better trials, in order.
        reason: why it was stopped, in a sentence.
    """

    status: str = "waiting"
    values: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    updated: float = 0.0
    device: str = ""
    error: str = ""
    takeovers: tuple[Takeover, ...] = ()
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether the trial has nothing left to train."""
        return self.status in ("done", "stopped")

    def values_at(self, epoch: int) -> dict[str, Any]:
        """The values with which an epoch, counted from 1, was trained."""
        later = [each.before for each in self.takeovers if each.epoch >= epoch and each.before]
        return later[0] if later else self.values


@dataclass(frozen=True)
class EvaluatedEpoch:
    """The metrics of a trial's generator after an epoch, on the validation split.

    Attributes:
        epoch: the epoch's number, counted from 1.
        seconds: time spent training until then, over all epochs.
        val_l1: mean absolute error in a and b of Lab.
        val_psnr: PSNR in sRGB, in dB.
        semantic: mean semantic score of the photographs whose class has labels; None if there are
            none, or no classifier.
        frechet: Fréchet distance of the colourings from the originals in the classifier's features;
            None without a classifier, and if there are too few photographs.
        hue_frechet: the same after every colouring has been given its original's mean chroma.
        colorfulness: mean colourfulness as a share of the originals'; None if those are gray.
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
        """The metrics that only evaluated epochs have."""
        return {name: getattr(self, name) for name in JUDGED}


@dataclass(frozen=True)
class History:
    """A trial's history.json: the records of all epochs, and the metrics of evaluated ones."""

    epochs: tuple[EpochRecord, ...] = ()
    evaluations: tuple[EvaluatedEpoch, ...] = ()


def create_sweep(storage: Storage, sweep: Sweep, rows: Sequence[Row]) -> bool:
    """Start a sweep, or continue one that has the same options.

    Args:
        storage: the storage of the sweeps.
        sweep: the sweep's plan.
        rows: the photographs that its trials colour.

    Returns:
        Whether the sweep had been started before.

    Raises:
        ConfigError: the sweep was started with other options, or a trial's options are invalid.
    """
    for trial in sweep.trials:
        base = sweep.config(trial.values).start_from
        if base:
            check_trial_base(base)
            find(with_embedded(storage), base)
    key = sweep.key("sweep.json")
    if storage.exists(key):
        return _goes_on(storage, sweep)
    if storage.exists(sweep.key("run.json")):
        raise ConfigError(f"{sweep.name!r} is the name of a run: choose another --sweep")
    for row in rows:
        rgb = decode(row.image).rgb
        storage.put(sweep.photograph_key(photo_id(row), "original"), encode_webp(rgb))
        storage.put(sweep.photograph_key(photo_id(row), "gray"), encode_webp(grayscale(rgb)))
    # Another process may have started one of the same name in the meantime.
    return not storage.create(key, sweep.to_json()) and _goes_on(storage, sweep)


def check_trial_base(base: str) -> None:
    """Check what a trial starts from; raises ConfigError if it is not a version of a model."""
    if "@" not in base:
        raise ConfigError(f"--start-from {base}: a trial needs a package, as {base}@VERSION")


def _goes_on(storage: Storage, sweep: Sweep) -> bool:
    """True if the sweep in storage has the same options; raises ConfigError if it has others."""
    before, now = (asdict(each) for each in (open_sweep(storage, sweep.name), sweep))
    ignored = {"created"}
    if not before["scheduler"]:  # an earlier version began it
        ignored |= {"scheduler", "metric"}
    elif before["scheduler"] == "none":  # then the metric only ranks what has been trained
        ignored.add("metric")
    differing = [name for name in now if name not in ignored and now[name] != before[name]]
    if differing:
        raise ConfigError(
            f"sweep {sweep.name!r} was started with another {', another '.join(differing)}: "
            "give the same options to continue it, or another --sweep"
        )
    return True


def open_sweep(storage: Storage, name: str) -> Sweep:
    """A sweep by its name.

    Raises:
        NotInStorage: there is no such sweep; the message lists the existing ones.
        Corrupt: the sweep cannot be read.
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
    """The validation photographs that a sweep shows, spread evenly over the split.

    Raises:
        ColorganError: the model has no validation photograph.
    """
    classes = dataset.model_classes(model)
    count = dataset.check_split(classes, "val")
    shown = min(SHOWN, count)
    places = {place * count // shown for place in range(shown)}
    rows = enumerate(dataset.rows(classes, "val"))
    return [row for place, row in rows if place in places]


def read_state(storage: Storage, sweep: Sweep, trial: str) -> TrialState:
    """Read the state of a trial; raises Corrupt."""
    key = sweep.key("trials", trial, "trial.json")
    if not storage.exists(key):
        return TrialState(values=sweep.trial(trial).values)

    def build(fields: dict[str, Any]) -> TrialState:
        del fields["schema_version"]
        inherited = _takeovers(fields.pop("inherited", ()))
        takeovers = (Takeover(**each) for each in fields.get("takeovers", ()))
        return TrialState(**{**fields, "takeovers": (*inherited, *takeovers)})

    return read_document(storage.get(key), key, SCHEMA_VERSION, build)


def _takeovers(sentences: Sequence[str]) -> Iterator[Takeover]:
    """Takeovers that an earlier version recorded in sentences."""
    for sentence in sentences:
        found = re.match(r"epoch (\d+) from trial (\S+), with ", sentence)
        if found:
            yield Takeover(int(found[1]), found[2])


def write_state(storage: Storage, sweep: Sweep, trial: str, state: TrialState) -> None:
    """Write the state of a trial, with the current time."""
    fields = asdict(replace(state, updated=time.time()))
    document = {**fields, "schema_version": SCHEMA_VERSION}
    key = sweep.key("trials", trial, "trial.json")
    storage.put(key, (json.dumps(document, indent=2) + "\n").encode())


def mark_interrupted(storage: Storage, sweep: Sweep) -> None:
    """Record of every trial that trains, or waits for others, that its job was stopped."""
    for plan in sweep.trials:
        state = read_state(storage, sweep, plan.name)
        if state.status in ("running", "paused"):
            write_state(storage, sweep, plan.name, replace(state, status="interrupted"))


def read_history(storage: Storage, sweep: Sweep, trial: str) -> History:
    """Read the epochs of a trial so far; raises Corrupt."""
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
    """Write the epochs of a trial so far."""
    document = {**asdict(history), "schema_version": SCHEMA_VERSION}
    data = json.dumps(document, indent=1) + "\n"
    storage.put(sweep.key("trials", trial, "history.json"), data.encode())


def describe_values(values: Mapping[str, Any]) -> str:
    """Hyper-parameters as one line of text."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
