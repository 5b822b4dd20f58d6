"""The steps of a reproduction, one after the other, from its sweeps to its page."""

import argparse
from functools import partial

from colorgan.data.dataset import Dataset
from colorgan.evaluation.results import ASSEMBLED
from colorgan.names import CIC, GENERAL, HYPERCOLUMN
from colorgan.storage import Storage
from colorgan.storage.lease import Lease
from colorgan.system import choose_device
from jobs.reproduction.analyses import ANALYSES, class_packages, package_of, publish_trials
from jobs.reproduction.further import (
    ARMS,
    BEST_CONDITIONAL,
    DIVERSE,
    Seeing,
    diverse_step,
    further_trainings,
    is_drawn,
    measuring_steps,
)
from jobs.reproduction.further_analyses import make_seeing, read_seeing, seeing_command
from jobs.reproduction.page import write_page
from jobs.reproduction.plan import (
    BEST,
    BEST_GENERAL,
    Reproduction,
    evaluation_step,
    later_general_step,
    sweep_steps,
    training_steps,
)
from jobs.reproduction.runner import JobOptions, StepRunner
from jobs.reproduction.scales import SCALES
from jobs.reproduction.sections import make_sections

# The models that the report's own questions compare, and the further ones.
_COMPARED = (ASSEMBLED, GENERAL, HYPERCOLUMN, BEST, BEST_GENERAL)
_FURTHER = (CIC, *ARMS, BEST_CONDITIONAL, DIVERSE)


def do_all(
    args: argparse.Namespace,
    storage: Storage,
    reproduction: Reproduction,
    dataset: Dataset,
    lease: Lease,
) -> None:
    """Do the steps that are left; `args` are the options of jobs/reproduce.py."""
    options = JobOptions(args.device, args.retries, args.gpus_per_model)
    device = choose_device(args.device)
    total = _count(reproduction)

    def heard(done: int) -> None:
        lease.report("steps", done, total)

    with StepRunner(storage, reproduction, options, args.address, heard) as runner:
        for step in sweep_steps(reproduction):
            runner.run(step)
        # Trials are published before the models to keep, because the newest package of a name is
        # the one that is used by default.
        trials = publish_trials(storage, reproduction)
        models = _train(runner, storage, reproduction)
        photographs = SCALES[reproduction.scale].photographs
        compared = {name: models[name] for name in _COMPARED}
        runner.run(evaluation_step(reproduction, "models", compared, photographs))
        runner.run(evaluation_step(reproduction, "trials", trials, photographs))
        itself = (
            f"python jobs/reproduce.py --preset {reproduction.scale} --name {reproduction.name}"
        )
        made = partial(make_seeing, storage, reproduction, dataset, device)
        runner.once("seeing", seeing_command(reproduction, dataset) or itself, made)
        seeing = read_seeing(storage, reproduction)
        for step in measuring_steps(reproduction, models, seeing, is_drawn(dataset)):
            runner.run(step)
    for name, analyze in ANALYSES.items():
        runner.once(name, itself, partial(analyze, storage, reproduction, dataset, device))
    write_page(storage, reproduction, make_sections(storage, reproduction), runner.records)


def _count(reproduction: Reproduction) -> int:
    """The number of all steps."""
    trainings = [*training_steps(reproduction), *further_trainings(reproduction, "")]
    placeholders = dict.fromkeys((*_COMPARED, *_FURTHER), "")
    measured = measuring_steps(reproduction, placeholders, Seeing("", ""), False)
    # So are the later general model and the one with noise, two evaluations, and the networks that
    # see.
    return len([*sweep_steps(reproduction), *trainings, *measured, *ANALYSES]) + 5


def _train(runner: StepRunner, storage: Storage, reproduction: Reproduction) -> dict[str, str]:
    """Train all models; returns their packages by their names in the tables."""
    for step in training_steps(reproduction):
        runner.run(step)
    package = partial(package_of, storage, reproduction)
    begun = package(BEST, GENERAL)
    for step in (
        later_general_step(reproduction, begun),
        *further_trainings(reproduction, begun),
    ):
        runner.run(step)
    runner.run(diverse_step(reproduction, package(BEST_GENERAL, GENERAL)))
    return {
        ASSEMBLED: class_packages(storage, reproduction, "classes"),
        GENERAL: package(GENERAL, GENERAL),
        HYPERCOLUMN: package(HYPERCOLUMN, HYPERCOLUMN),
        BEST: class_packages(storage, reproduction, BEST),
        BEST_GENERAL: package(BEST_GENERAL, GENERAL),
        CIC: package(CIC, CIC),
        **{name: package(name, GENERAL) for name in _FURTHER if name != CIC},
    }
