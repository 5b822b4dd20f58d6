"""Plans a reproduction: its scale, and the steps that train, sweep and compare.

reproductions/<name>/reproduction.json     its settings: see Reproduction
reproductions/<name>/steps/<step>.json     a finished step: see StepRecord
reproductions/<name>/index.html, results.md, tables/, figures/, pictures/
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Corrupt
from colorgan.names import GENERAL, HYPERCOLUMN, check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_document
from jobs.reproduction.scales import SCALES

SCHEMA_VERSION = 1
BEST, BEST_GENERAL = "best", "best-general"
COMMAND = "colorgan"  # a step that runs one of its commands, not a job


@dataclass(frozen=True)
class Reproduction:
    """The report's questions on one dataset at one scale.

    Attributes:
        name: name of the reproduction, and prefix of the names of its runs.
        created: time of creation, UTC, ISO 8601.
        scale: name of the scale in SCALES.
        dataset: name and fingerprint of the dataset.
        classes: classes of the dataset.
        swept: the class that the sweeps train.
        photographs: number of training photographs by class.
        backbone: backbone of hypercolumn; the preset's if empty.
        machine: the machine on which it was started; see `colorgan.system`.
    """

    name: str
    created: str
    scale: str
    dataset: dict[str, str]
    classes: tuple[str, ...]
    swept: str
    photographs: dict[str, int]
    backbone: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def run(self, part: str) -> str:
        """The name of one of its runs, sweeps or reports, such as `NAME-classes`."""
        return f"{self.name}-{part}"

    def key(self, *parts: str) -> str:
        """A storage key in the reproduction's folder."""
        return "/".join((f"reproductions/{self.name}", *parts))

    def counts(self) -> list[int]:
        """The numbers of training photographs to compare, ascending; the last is all of them."""
        whole = self.photographs[self.swept]
        return sorted({max(1, round(whole * share)) for share in SCALES[self.scale].shares})

    def to_json(self) -> bytes:
        """The contents of reproduction.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Reproduction":
        """Read a reproduction.json; raises Corrupt if it is not one."""

        def build(fields: dict[str, Any]) -> "Reproduction":
            return cls(**{**fields, "classes": tuple(fields["classes"])})

        return read_document(data, key, SCHEMA_VERSION, build)


def open_reproduction(storage: Storage, reproduction: Reproduction) -> tuple[Reproduction, bool]:
    """Start a reproduction, or continue the one of the same name.

    Returns:
        The reproduction, and whether it had been started before.

    Raises:
        ConfigError: it was started with other options.
        Corrupt: its reproduction.json cannot be read.
    """
    key = reproduction.key("reproduction.json")
    if not storage.exists(key):
        storage.put(key, reproduction.to_json())
        return reproduction, False
    before = Reproduction.from_json(storage.get(key), key)
    for what in ("scale", "dataset", "backbone"):
        if getattr(before, what) != getattr(reproduction, what):
            raise ConfigError(
                f"reproduction {before.name!r} was started with another {what}: give the "
                "same one to continue it, or another --name"
            )
    return before, True


def new_reproduction(
    name: str, created: str, scale: str, dataset: Dataset, backbone: str, machine: dict[str, Any]
) -> Reproduction:
    """Create a reproduction on a dataset; raises ConfigError for an invalid name."""
    manifest = dataset.manifest
    return Reproduction(
        name=check_name("reproduction", name),
        created=created,
        scale=scale,
        dataset={"name": manifest.name, "fingerprint": manifest.fingerprint},
        classes=manifest.classes,
        swept=manifest.classes[0],
        photographs={label: dataset.count([label], "train") for label in manifest.classes},
        backbone=backbone,
        machine=machine,
    )


@dataclass(frozen=True)
class Step:
    """A step of a reproduction, which runs one of the jobs, or a command of colorgan.

    Attributes:
        name: unique name of the step.
        job: name of the module under jobs/, such as `train_all`, or COMMAND.
        options: command-line options of the job, without --storage; a command's begin with its
            name.
    """

    name: str
    job: str
    options: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command as a user would type it."""
        begin = (COMMAND,) if self.job == COMMAND else ("python", f"jobs/{self.job}.py")
        return " ".join((*begin, *self.options))


@dataclass(frozen=True)
class StepRecord:
    """The record of a finished step, steps/<step>.json.

    Attributes:
        command: command that runs the step.
        started: start time in seconds since the Unix epoch.
        seconds: duration, without the time of earlier, interrupted attempts.
    """

    command: str
    started: float
    seconds: float


def trial_name(part: str, value: object) -> str:
    """The name of a trial in the comparison of all trials, such as `sizes-128`."""
    return f"{part}-{value}"


def sweep_steps(reproduction: Reproduction) -> list[Step]:
    """The sweeps, each of which varies one hyper-parameter of the swept class's model."""
    scale = SCALES[reproduction.scale]
    hyper = {
        "model": reproduction.swept,
        "eval-every": scale.eval_every,
        "preset": scale.preset,
        **scale.plain,
        **scale.swept,
        **({"max-parallel": 1} if scale.in_turn else {}),
    }
    counts = ",".join(map(str, reproduction.counts()))
    return [
        _sweep(reproduction, "sizes", "size=" + ",".join(map(str, scale.sizes)), hyper),
        _sweep(reproduction, "batches", "batch_size=" + ",".join(map(str, scale.batches)), hyper),
        _sweep(reproduction, "photographs", f"photographs={counts}", hyper),
    ]


def training_steps(reproduction: Reproduction) -> list[Step]:
    """The steps that train the models to compare; the last one trains the preset `best`."""
    scale, classes = SCALES[reproduction.scale], reproduction.classes
    plain = {"preset": scale.preset, **scale.plain}
    backbone = {"backbone": reproduction.backbone} if reproduction.backbone else {}

    def lone(model: str, **more: str) -> Step:
        epochs = {"epochs": scale.epochs[model]} if model in scale.epochs else {}
        return training_step(reproduction, model, (model,), {**plain, **epochs, **more})

    return [
        training_step(reproduction, "classes", classes, plain),
        lone(GENERAL),
        lone(HYPERCOLUMN, **backbone),
        training_step(reproduction, BEST, classes, {"preset": BEST, **scale.best}),
    ]


def later_general_step(reproduction: Reproduction, general: str) -> Step:
    """The step that trains the general `best` for as many image passes as the class models.

    Args:
        reproduction: the reproduction.
        general: package from which the class models started.
    """
    best = {"preset": BEST, **SCALES[reproduction.scale].best, "start-from": general}
    return training_step(reproduction, BEST_GENERAL, (GENERAL,), best)


def evaluation_step(
    reproduction: Reproduction,
    part: str,
    models: Mapping[str, str],
    photographs: int,
    segmenter: str = "",
) -> Step:
    """The step that compares models.

    Args:
        reproduction: the reproduction.
        part: suffix of the report's name.
        models: the package of each model, or several joined by commas, by the name in the tables.
        photographs: number of test photographs; 0 means all.
        segmenter: the network of the FCN score; empty means that it is not measured.
    """
    options: dict[str, Any] = {
        "report": reproduction.run(part),
        "dataset": reproduction.dataset["name"],
        "photographs": photographs,
        **({"segmenter": segmenter} if segmenter else {}),
    }
    listed = (f"{name}={packages}" for name, packages in models.items())
    return Step(f"evaluate-{part}", "evaluate", (*options_of(options), "--models", *listed))


def training_step(
    reproduction: Reproduction, part: str, models: tuple[str, ...], hyper: Mapping[str, Any]
) -> Step:
    """The step that trains models in a run of their own, which is named after `part`."""
    named = {"dataset": reproduction.dataset["name"], "run": reproduction.run(part), **hyper}
    return Step(part, "train_all", (*options_of(named), "--models", *models))


def _sweep(reproduction: Reproduction, part: str, grid: str, hyper: Mapping[str, Any]) -> Step:
    varied = grid.partition("=")[0]
    own = {name: value for name, value in hyper.items() if name != varied}
    named = {"dataset": reproduction.dataset["name"], "sweep": reproduction.run(part), **own}
    return Step(part, "sweep", (*options_of(named), "--grid", grid))


def options_of(values: Mapping[str, Any]) -> list[str]:
    """Values as options of a command line, such as `--batch-size=5`; True is a flag."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in named.items()]


def read_record(storage: Storage, reproduction: Reproduction, step: str) -> StepRecord | None:
    """Read the record of a step; None if the step is not done; raises Corrupt."""
    key = reproduction.key("steps", f"{step}.json")
    if not storage.exists(key):
        return None
    try:
        return StepRecord(**json.loads(storage.get(key)))
    except (ValueError, TypeError):
        raise Corrupt(f"{key} cannot be read: delete it to repeat the step") from None


def write_record(
    storage: Storage, reproduction: Reproduction, step: str, record: StepRecord
) -> None:
    """Record that a step is done."""
    content = (json.dumps(asdict(record), indent=2) + "\n").encode()
    storage.put(reproduction.key("steps", f"{step}.json"), content)
