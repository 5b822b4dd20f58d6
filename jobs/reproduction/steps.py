"""The steps of a reproduction, one after the other, from its sweeps to its page."""

import argparse
from functools import partial

from colorgan.data.dataset import Dataset
from colorgan.evaluation.results import ASSEMBLED
from colorgan.names import GENERAL, HYPERCOLUMN
from colorgan.storage import Storage
from colorgan.storage.lease import Lease
from colorgan.system import choose_device
from jobs.reproduction.analyses import ANALYSES, class_packages, package_of, publish_trials
from jobs.reproduction.page import write_page
from jobs.reproduction.plan import (
    BEST,
    BEST_GENERAL,
    SCALES,
    Reproduction,
    evaluation_step,
    later_general_step,
    sweep_steps,
    training_steps,
)
from jobs.reproduction.runner import JobOptions, StepRunner
from jobs.reproduction.sections import make_sections


def do_all(
    args: argparse.Namespace,
    storage: Storage,
    reproduction: Reproduction,
    dataset: Dataset,
    lease: Lease,
) -> None:
    """Do the steps that are left; `args` are the options of jobs/reproduce.py."""
    photographs = SCALES[reproduction.scale].photographs
    options = JobOptions(args.device, args.retries, args.gpus_per_model)
    sweeps, trainings = sweep_steps(reproduction), training_steps(reproduction)
    # The later general model and the two evaluations are steps, too.
    total = len(sweeps) + len(trainings) + 3 + len(ANALYSES)

    def heard(done: int) -> None:
        lease.report("steps", done, total)

    with StepRunner(storage, reproduction, options, args.address, heard) as runner:
        for step in sweeps:
            runner.run(step)
        # Trials are published before the models to keep, because the newest package of a name is
        # the one that is used by default.
        trials = publish_trials(storage, reproduction)
        for step in trainings:
            runner.run(step)
        begun = package_of(storage, reproduction, BEST, GENERAL)
        runner.run(later_general_step(reproduction, begun))
        runner.run(evaluation_step(reproduction, "trials", trials, photographs))
        models = {
            ASSEMBLED: class_packages(storage, reproduction, "classes"),
            GENERAL: package_of(storage, reproduction, GENERAL, GENERAL),
            HYPERCOLUMN: package_of(storage, reproduction, HYPERCOLUMN, HYPERCOLUMN),
            BEST: class_packages(storage, reproduction, BEST),
            BEST_GENERAL: package_of(storage, reproduction, BEST_GENERAL, GENERAL),
        }
        runner.run(evaluation_step(reproduction, "models", models, photographs))
    device = choose_device(args.device)
    itself = f"python jobs/reproduce.py --preset {reproduction.scale} --name {reproduction.name}"
    for name, analyze in ANALYSES.items():
        runner.once(name, itself, partial(analyze, storage, reproduction, dataset, device))
    write_page(storage, reproduction, make_sections(storage, reproduction), runner.records)
