"""Does a job's work in this process, one thing after the other and without Ray.

The results are those of the job. It saves the start of many processes, each of which imports
PyTorch, where there are many tiny trainings.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from cluster.connection import storage_uri
from cluster.job import choose_dataset, say, training_options, working_on
from cluster.trainer import report_run
from colorgan.commands.publishing import given_publishing
from colorgan.data.dataset import open_dataset
from colorgan.errors import ColorganError
from colorgan.evaluation.evaluate import (
    Evaluator,
    blocks_left,
    choose_rows,
    collect,
    open_evaluation,
)
from colorgan.evaluation.plan import Sample, plan_evaluation
from colorgan.evaluation.segmentation import SegmentationConfig
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import LABELS, RouterConfig
from colorgan.options import parse
from colorgan.packages.embedded import with_embedded
from colorgan.storage import Storage, open_storage
from colorgan.sweeps.documents import create_sweep, read_state
from colorgan.sweeps.results import epoch_line, failures, write_results
from colorgan.sweeps.trial import TrialRun, run_trial
from colorgan.system import choose_device
from colorgan.training.config import SpeedConfig
from colorgan.training.model_run import train_model
from colorgan.training.plan import RunPlan, plan_run
from colorgan.training.progress import Progress
from colorgan.training.runs import ModelResult, epochs_begun_with, open_run
from colorgan.training.summary import RunSummary
from jobs import evaluate, sweep, train_all
from tune.options import sweep_request
from tune.plan import plan_sweep


def train_all_here(argv: Sequence[str]) -> None:
    """Do what jobs/train_all.py does with these options, but for the router's head.

    Raises:
        ColorganError: the training of a model failed.
    """
    args = train_all.make_parser().parse_args(argv)
    options, device = training_options(args), choose_device(args.device)
    storage = open_storage(storage_uri(args.storage))
    dataset = choose_dataset(storage, args.dataset)
    request = train_all.run_request(args, dataset, given_publishing(args))
    request = replace(request, router=LABELS)
    started = time.time()
    with working_on(storage, "run", request.run):
        plan = plan_run(storage, dataset, request)
        open_run(storage, plan.run, plan.fingerprint, plan.configs, plan.continued)
        speed, every = options.speed, options.checkpoint_every
        results = dict(plan.finished)
        for model in (model for stage in plan.stages for model in stage):
            results[model] = _train(storage, plan, model, speed, every, device)
        models = [results[model] for model in plan.configs]
        report_run(storage, RunSummary(plan.run, time.time() - started, models))


def _train(
    storage: Storage,
    plan: RunPlan,
    model: str,
    speed: SpeedConfig,
    checkpoint_every: int,
    device: torch.device,
) -> ModelResult:
    spec = plan.model_run(model, storage.uri, speed, checkpoint_every)
    began = time.time()
    epochs = {model: spec.training.epochs}
    with Progress(epochs, epochs_begun_with(storage, plan.run, epochs)) as progress:
        progress.state(model, "training")
        result = train_model(
            spec,
            device,
            observe=lambda fraction: progress.step(model, fraction),
            record=lambda epoch: progress.epoch(model, epoch),
        )
        progress.state(model, result.status, result.package or "")
    return replace(result, started=began)


def sweep_here(argv: Sequence[str]) -> None:
    """Do what jobs/sweep.py does with these options, for trials that start from nothing.

    Raises:
        ColorganError: a trial failed.
    """
    args = sweep.make_parser().parse_args(argv)
    options, device = training_options(args), choose_device(args.device)
    request = sweep_request(args)
    storage = open_storage(storage_uri(args.storage))
    dataset = open_dataset(storage, args.dataset)
    with working_on(storage, "sweep", request.name):
        plan = plan_sweep(storage, dataset, request)
        found = plan.sweep
        create_sweep(storage, found, plan.rows)
        for trial in found.trials:
            if read_state(storage, found, trial.name).over:
                continue
            run = TrialRun(
                storage, found, trial.name, device, options.speed, options.checkpoint_every
            )
            for evaluated in run_trial(run):
                say(f"trial {trial.name}: {epoch_line(storage, found, trial.name, evaluated)}")
        write_results(storage, found)
        if failed := failures(storage, found):
            raise ColorganError("; ".join(failed))


def evaluate_here(argv: Sequence[str]) -> None:
    """Do what jobs/evaluate.py does with these options, but for the report's page and figures."""
    args = evaluate.make_parser().parse_args(argv)
    storage = with_embedded(open_storage(storage_uri(args.storage)))
    router, segmentation = parse(RouterConfig, args), parse(SegmentationConfig, args)
    objects = parse(ObjectConfig, args)
    dataset = open_dataset(storage, args.dataset)
    sample = Sample(args.split, args.photographs, args.seed)
    evaluation, _ = plan_evaluation(
        dataset, sample, args.models, router, args.report, segmentation, objects
    )
    with working_on(storage, "report", evaluation.name):
        report, _ = open_evaluation(storage, evaluation)
        evaluator: Evaluator | None = None
        chosen = choose_rows(dataset, args.split, args.photographs, args.seed)
        for block, rows in blocks_left(report, chosen):
            evaluator = evaluator or Evaluator(
                report, router, choose_device(args.device), segmentation, objects
            )
            evaluator.evaluate(rows, block)
        collect(report)
    say(f"{evaluation.photographs} photographs measured")


JOBS_HERE: Mapping[str, Callable[[Sequence[str]], None]] = {
    "train_all": train_all_here,
    "sweep": sweep_here,
    "evaluate": evaluate_here,
}
