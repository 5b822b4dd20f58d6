"""Training three models concurrently against sequentially, and the overhead of Ray.

    python -m benchmarks.train_all [--quick | --full] [--json FILE]

The reference is `colorgan train` in three concurrent processes, each with the number of threads
that jobs/train_all.py plans. It is compared with jobs/train_all.py on a private Ray, with three
models one after the other in one process on all threads, and with processes that write a checkpoint
every epoch instead of only after the last. The models are small and train on drawn scenes. The
seconds of an epoch come from history.csv, without the first epoch. `outside the epochs` is the rest
of a model's time from its first step to its package, per epoch: reports, checkpoints, publishing.
Start-up ends with the first step of the first model.
"""

import csv
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.children import Child, Work
from benchmarks.face import Settings, main_of, note
from benchmarks.machine import CHECKOUT
from benchmarks.measure import AGAIN, Result, Timings, rotate
from cluster.planning import NodeResources, plan_training
from colorgan.data.batches import JITTER
from colorgan.data.scenes import CLASSES
from colorgan.data.sources import SceneSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.storage import Storage, open_storage
from colorgan.system import choose_device
from colorgan.temporary import temporary_folder
from colorgan.training.config import SpeedConfig
from colorgan.training.model_run import train_model
from colorgan.training.presets import PRESETS
from colorgan.training.runs import ModelRun

NAME = "train_all"
AT_ONCE = "three processes at once"
CHECKPOINTS = "the same, a checkpoint every epoch"
ON_RAY = "jobs/train_all.py on Ray"
IN_TURN = "one after the other, one process"

_LIMIT_S = 300.0  # timeout of one run of three models
_DATASET = "scenes"


@dataclass(frozen=True)
class _Plan:
    """The training of each model.

    Attributes:
        size: image size in pixels.
        width: width of both networks.
        epochs: number of epochs of each model.
        per_class: number of scenes per class.
        device: cpu or cuda.
        threads: number of threads of each of three concurrent processes.
    """

    size: int
    width: int
    epochs: int
    per_class: int
    device: str
    threads: int

    def options(self, every: int) -> list[str]:
        """Options for `colorgan train` and jobs/train_all.py, with a checkpoint interval."""
        given = {
            "dataset": _DATASET,
            "preset": "small",
            "size": self.size,
            "width": self.width,
            "discriminator-width": self.width,
            "epochs": self.epochs,
            "checkpoint-every": every,
            "device": "gpu" if self.device == "cuda" else "cpu",
        }
        return [f"--{name}={value}" for name, value in given.items()]


@dataclass(frozen=True)
class _Model:
    """The times of one model's training.

    Attributes:
        started: start of the first step, in seconds since the Unix epoch.
        ended: time of publication, in seconds since the Unix epoch.
        epochs: duration of each epoch in seconds.
    """

    started: float
    ended: float
    epochs: list[float]


@dataclass(frozen=True)
class _Outcome:
    """The times of training the three models, in seconds.

    Attributes:
        start: from the command to the first step of the first model.
        training: from then to the package of the last model.
        end: from then to the end of the last process.
        epoch: mean over all epochs except the first of each model.
        outside: mean over the models of the time outside the epochs, per epoch.
    """

    start: float
    training: float
    end: float
    epoch: float
    outside: float


def run(settings: Settings) -> list[Result]:
    """Measure in rounds, in each of which every contender trains the three models."""
    device, settings = settings.device_type, settings.within(150)
    node = NodeResources(len(os.sched_getaffinity(0)), device == "cuda")
    share = 1 / len(CLASSES)
    threads = plan_training(
        len(CLASSES), [node], "gpu" if device == "cuda" else "cpu", share
    ).threads
    plan = settings.pick(
        _Plan(32, 4, 2, 24, device, threads),
        _Plan(64, 16, 6, 60, device, threads),
        _Plan(64, 24, 20, 120, device, threads),
    )
    with temporary_folder("bench") as folder:
        storage = open_storage(str(folder))
        side = round(plan.size * JITTER)
        config = StagingConfig(size=side, min_side=32, test_share=0.0)
        stage(SceneSource(plan.per_class, seed=0, size=side), storage, _DATASET, config)
        contenders: dict[str, Callable[[str], _Outcome]] = {
            AT_ONCE: lambda run: _at_once(storage, run, plan, plan.epochs),
            AGAIN: lambda run: _at_once(storage, run, plan, plan.epochs),
            CHECKPOINTS: lambda run: _at_once(storage, run, plan, 1),
            ON_RAY: lambda run: _on_ray(storage, run, plan),
            IN_TURN: lambda run: _in_turn(storage, run, plan),
        }
        if settings.scale == "quick":
            contenders = {name: contenders[name] for name in (AT_ONCE, ON_RAY, IN_TURN)}
        outcomes = _rounds(contenders, settings)
    return _results(plan, outcomes)


def _rounds(
    contenders: dict[str, Callable[[str], _Outcome]], settings: Settings
) -> dict[str, list[_Outcome]]:
    rounds = settings.pick(1, 2, 5)
    outcomes: dict[str, list[_Outcome]] = {name: [] for name in contenders}
    for number in range(rounds):
        if number and settings.late():
            break
        for place, (name, train) in enumerate(rotate(list(contenders.items()), number)):
            note(f"  round {number + 1} of {rounds}: {name}")
            outcomes[name].append(train(f"r{number}-{place}"))
    return outcomes


def _results(plan: _Plan, outcomes: dict[str, list[_Outcome]]) -> list[Result]:
    what = f"{plan.size} px, {plan.epochs} epochs"

    def rows(case: str, of: Callable[[_Outcome], float], leave: Sequence[str] = ()) -> list[Result]:
        timings = Timings(
            {
                name: [of(outcome) for outcome in found]
                for name, found in outcomes.items()
                if name not in leave
            }
        )
        return timings.results(NAME, case, "s", lambda seconds: seconds)

    return [
        *rows(f"an epoch, three at once, {what}", lambda each: each.epoch, (IN_TURN,)),
        *rows(f"three models trained, {what}", lambda each: each.training),
        *rows("outside the epochs, by epoch", lambda each: each.outside),
        *rows("start-up", lambda each: each.start, (CHECKPOINTS,)),
        *rows("shut-down", lambda each: each.end, (CHECKPOINTS,)),
    ]


def _at_once(storage: Storage, run: str, plan: _Plan, every: int) -> _Outcome:
    def command(model: str) -> list[str]:
        place = [f"--storage={storage.uri}", f"--model={model}", f"--run={run}-{model}"]
        return [sys.executable, "-m", "colorgan", "train", *place, *plan.options(every)]

    launched = time.time()
    environment = {**os.environ, "OMP_NUM_THREADS": str(plan.threads)}
    _wait([_start(command(model), environment) for model in CLASSES])
    models = [_model(storage, f"runs/{run}-{model}/{model}") for model in CLASSES]
    return _outcome(launched, time.time(), models)


def _on_ray(storage: Storage, run: str, plan: _Plan) -> _Outcome:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [
        *(sys.executable, "jobs/train_all.py", f"--storage={storage.uri}", f"--run={run}"),
        *(f"--gpus-per-model={1 / len(CLASSES):.2f}", *plan.options(plan.epochs)),
    ]
    launched = time.time()
    _wait([_start(command, environment)])
    models = [_model(storage, f"runs/{run}/{model}") for model in CLASSES]
    return _outcome(launched, time.time(), models)


def _in_turn(storage: Storage, run: str, plan: _Plan) -> _Outcome:
    launched = time.time()
    with Child(IN_TURN, make_in_turn, storage.uri, run, plan) as child:
        child.variant.run()
        child.end()
    models = [_model(storage, f"runs/{run}/{model}") for model in CLASSES]
    return _outcome(launched, time.time(), models)


def make_in_turn(storage: str, run: str, plan: _Plan) -> Work:
    """Work that trains the three models one after the other with the library."""
    device = choose_device("gpu" if plan.device == "cuda" else "cpu")
    config = PRESETS["small"].config(
        "",
        {
            "size": plan.size,
            "width": plan.width,
            "discriminator_width": plan.width,
            "epochs": plan.epochs,
        },
    )

    def work() -> None:
        for model in CLASSES:
            spec = ModelRun(storage, _DATASET, run, model, config, SpeedConfig(), plan.epochs)
            train_model(spec, device)

    return Work(work, device=plan.device)


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for all processes; raises RuntimeError with the last output of one that failed."""
    try:
        for process in processes:
            output, _ = process.communicate(timeout=_LIMIT_S)
            if process.returncode:
                raise RuntimeError("\n".join(output.strip().splitlines()[-5:]))
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()


def _model(storage: Storage, folder: str) -> _Model:
    result = json.loads(storage.get(f"{folder}/result.json"))
    history = csv.DictReader(io.StringIO(storage.get(f"{folder}/history.csv").decode()))
    return _Model(result["started"], result["ended"], [float(row["seconds"]) for row in history])


def _outcome(launched: float, finished: float, models: list[_Model]) -> _Outcome:
    started = min(model.started for model in models)
    ended = max(model.ended for model in models)
    return _Outcome(
        start=started - launched,
        training=ended - started,
        end=finished - ended,
        epoch=statistics.fmean(seconds for model in models for seconds in model.epochs[1:]),
        outside=statistics.fmean(
            (model.ended - model.started - sum(model.epochs)) / len(model.epochs)
            for model in models
        ),
    )


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
