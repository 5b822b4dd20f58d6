"""What a reproduction trains and compares: its scales, and the runs, sweeps and report it names.

reproductions/<name>/reproduction.json     what is asked on what: see Reproduction
reproductions/<name>/steps/<step>.json     written when a step is done: its command and its time
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

SCHEMA_VERSION = 1
BEST, BEST_GENERAL = "best", "best-general"


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        description: what it is for.
        preset: of the plain cGANs, as the report's are.
        plain: hyper-parameters of the plain cGANs, over the preset's.
        epochs: of general and hypercolumn, where they are not the preset's.
        best: hyper-parameters of the preset `best`, over its own.
        swept: hyper-parameters of the sweeps' trials, over `plain`.
        sizes: px, that are compared.
        batches: batch sizes that are compared.
        shares: of a class's training photographs, that are compared; 1 is all.
        eval_every: epochs between a sweep's evaluations.
        photographs: of the test split, that the comparison measures; 0 is all.
        realizations: colourings of each photograph with dropout on.
        in_turn: a sweep trains one at a time, so that none takes from another's speed.
    """

    description: str
    preset: str
    plain: Mapping[str, Any]
    epochs: Mapping[str, int]
    best: Mapping[str, Any]
    swept: Mapping[str, Any]
    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    shares: tuple[float, ...]
    eval_every: int
    photographs: int
    realizations: int
    in_turn: bool = False


SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        "minutes on two cores, to see that everything runs: its numbers mean nothing",
        preset="small",
        plain={
            "size": 64,
            "width": 8,
            "discriminator_width": 8,
            "batch_size": 4,
            "epochs": 2,
        },
        epochs={HYPERCOLUMN: 1},
        best={"size": 64, "width": 8, "epochs": 1},
        swept={"epochs": 2},
        sizes=(32, 64),
        batches=(1, 10),
        shares=(0.5, 1.0),
        eval_every=1,
        photographs=12,
        realizations=3,
    ),
    "cpu": Scale(
        "two hours on two cores, with 800 photographs a class: the preset small, 128 px",
        preset="small",
        plain={"epochs": 7},
        epochs={HYPERCOLUMN: 4},
        best={},
        swept={"epochs": 3},
        sizes=(128, 256),
        batches=(1, 5, 10),
        shares=(0.125, 0.25, 0.5, 1.0),
        eval_every=1,
        photographs=0,
        realizations=8,
        in_turn=True,
    ),
    "report": Scale(
        "the report's own schedule, for a GPU: 256 px, width 64, batch 5, 350, 200, 300 and 120 "
        "epochs",
        preset="report",
        plain={},
        epochs={HYPERCOLUMN: 40},
        best={},
        swept={"epochs": 100},
        sizes=(128, 256),
        batches=(1, 5, 10),
        shares=(0.125, 0.25, 0.5, 1.0),
        eval_every=10,
        photographs=0,
        realizations=8,
    ),
}


@dataclass(frozen=True)
class Reproduction:
    """The report's questions on one dataset at one scale.

    Attributes:
        name: also the beginning of the names of its runs.
        created: UTC, ISO 8601.
        scale: by its name in SCALES.
        dataset: name and fingerprint.
        classes: of the dataset.
        swept: the class that is trained in the sweeps.
        photographs: training photographs by class.
        backbone: of hypercolumn; the preset's where empty.
        machine: that it was started on: see `colorgan.system`.
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
        """The name of one of its runs, sweeps and reports, as `NAME-classes`."""
        return f"{self.name}-{part}"

    def key(self, *parts: str) -> str:
        """A key of its own in storage."""
        return "/".join((f"reproductions/{self.name}", *parts))

    def counts(self) -> list[int]:
        """The numbers of training photographs that are compared, ascending; the last is all."""
        whole = self.photographs[self.swept]
        return sorted({max(1, round(whole * share)) for share in SCALES[self.scale].shares})

    def to_json(self) -> bytes:
        """The contents of reproduction.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Reproduction":
        """Read a reproduction.json; raises Corrupt where it is not one."""

        def build(fields: dict[str, Any]) -> "Reproduction":
            return cls(**{**fields, "classes": tuple(fields["classes"])})

        return read_document(data, key, SCHEMA_VERSION, build)


def open_reproduction(storage: Storage, reproduction: Reproduction) -> tuple[Reproduction, bool]:
    """Start a reproduction, or go on with one of the same name.

    Returns:
        The reproduction, and whether it had been started before.

    Raises:
        ConfigError: it was started with other options.
        Corrupt: it cannot be read.
    """
    key = reproduction.key("reproduction.json")
    if not storage.exists(key):
        storage.put(key, reproduction.to_json())
        return reproduction, False
    before = Reproduction.from_json(storage.get(key), key)
    for what in ("scale", "dataset", "backbone"):
        if getattr(before, what) != getattr(reproduction, what):
            raise ConfigError(
                f"reproduction {before.name!r} was started with another {what}: give the same to "
                "go on with it, or another --name"
            )
    return before, True


def new_reproduction(
    name: str, created: str, scale: str, dataset: Dataset, backbone: str, machine: dict[str, Any]
) -> Reproduction:
    """A reproduction on a dataset; raises ConfigError for a name that is none."""
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
    """One of the jobs that a reproduction consists of.

    Attributes:
        name: unique.
        job: the module under jobs/, as `train_all`.
        options: of its command line, without --storage.
    """

    name: str
    job: str
    options: tuple[str, ...]

    @property
    def command(self) -> str:
        """As a user would type it."""
        return " ".join(("python", f"jobs/{self.job}.py", *self.options))


@dataclass(frozen=True)
class StepRecord:
    """How a step went: its steps/<step>.json.

    Attributes:
        command: that did it, and does it again.
        started: in seconds since the Unix epoch.
        seconds: that it took, without what an earlier, interrupted start of it took.
    """

    command: str
    started: float
    seconds: float


def trial_name(part: str, value: object) -> str:
    """What a trial is called in the comparison of all trials, as `sizes-128`."""
    return f"{part}-{value}"


def sweep_steps(reproduction: Reproduction) -> list[Step]:
    """The steps that vary one hyper-parameter of one class each."""
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
    """The steps that train the models to compare; the last are those that one would use."""
    scale, classes = SCALES[reproduction.scale], reproduction.classes
    plain = {"preset": scale.preset, **scale.plain}
    backbone = {"backbone": reproduction.backbone} if reproduction.backbone else {}

    def lone(model: str, **more: str) -> Step:
        epochs = {"epochs": scale.epochs[model]} if model in scale.epochs else {}
        return _training(reproduction, model, (model,), {**plain, **epochs, **more})

    return [
        _training(reproduction, "classes", classes, plain),
        lone(GENERAL),
        lone(HYPERCOLUMN, **backbone),
        _training(reproduction, BEST, classes, {"preset": BEST, **scale.best}),
    ]


def later_general_step(reproduction: Reproduction, general: str) -> Step:
    """The step that gives the general `best` as many image passes as the class models had.

    Args:
        reproduction: whose.
        general: the package from which the class models started.
    """
    best = {"preset": BEST, **SCALES[reproduction.scale].best, "start-from": general}
    return _training(reproduction, BEST_GENERAL, (GENERAL,), best)


def evaluation_step(
    reproduction: Reproduction, part: str, models: Mapping[str, str], photographs: int
) -> Step:
    """The step that compares models.

    Args:
        reproduction: whose.
        part: of the report's name.
        models: packages, or several joined by commas, by the names that tables show.
        photographs: of the test split; 0 is all.
    """
    options = {
        "report": reproduction.run(part),
        "dataset": reproduction.dataset["name"],
        "photographs": photographs,
    }
    listed = (f"{name}={packages}" for name, packages in models.items())
    return Step(f"evaluate-{part}", "evaluate", (*_options(options), "--models", *listed))


def _training(
    reproduction: Reproduction, part: str, models: tuple[str, ...], hyper: Mapping[str, Any]
) -> Step:
    named = {"dataset": reproduction.dataset["name"], "run": reproduction.run(part), **hyper}
    return Step(part, "train_all", (*_options(named), "--models", *models))


def _sweep(reproduction: Reproduction, part: str, grid: str, hyper: Mapping[str, Any]) -> Step:
    varied = grid.partition("=")[0]
    own = {name: value for name, value in hyper.items() if name != varied}
    named = {"dataset": reproduction.dataset["name"], "sweep": reproduction.run(part), **own}
    return Step(part, "sweep", (*_options(named), "--grid", grid))


def _options(values: Mapping[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def read_record(storage: Storage, reproduction: Reproduction, step: str) -> StepRecord | None:
    """How a step went; None where it is not done yet; raises Corrupt."""
    key = reproduction.key("steps", f"{step}.json")
    if not storage.exists(key):
        return None
    try:
        return StepRecord(**json.loads(storage.get(key)))
    except (ValueError, TypeError):
        raise Corrupt(f"{key} cannot be read: delete it, and the step is done again") from None


def write_record(
    storage: Storage, reproduction: Reproduction, step: str, record: StepRecord
) -> None:
    """Write that a step is done."""
    content = (json.dumps(asdict(record), indent=2) + "\n").encode()
    storage.put(reproduction.key("steps", f"{step}.json"), content)
