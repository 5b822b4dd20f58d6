"""The command `colorgan jobs`: list the cluster's jobs, print a job's log, stop a job cleanly."""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from cluster.job_server import DEFAULT_ADDRESS, ENDED, JobServer, RayJob, default_address
from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.text import print_table
from colorgan.errors import ColorganError
from colorgan.storage import open_storage
from colorgan.training.progress import ModelProgress, RunProgress, format_seconds, read_progress

_POLL_S = 1.0


def prepare_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan jobs`."""
    _add_address(parser, default_address())
    parser.add_argument("--all", action="store_true", help="also list jobs that have ended")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(command=_list)
    actions = parser.add_subparsers(title="actions", metavar="logs|stop")
    logs = actions.add_parser("logs", help="print what a job has printed")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing until it ends")
    logs.set_defaults(command=_logs)
    stop = actions.add_parser(
        "stop",
        help="stop a job: its trainings keep their last epochs, and its run can be continued",
    )
    stop.set_defaults(command=_stop)
    for action in (logs, stop):
        action.add_argument("job", metavar="JOB", help="name of the job or of its run")
        add_storage_option(action, argparse.SUPPRESS)
        _add_address(action, argparse.SUPPRESS)


def _add_address(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        default=default,
        help=f"address of Ray's job server (default: $RAY_API_SERVER_ADDRESS, or "
        f"{DEFAULT_ADDRESS})",
    )


def _list(args: argparse.Namespace) -> int:
    jobs = JobServer(args.address).jobs()
    if not args.all:
        jobs = [job for job in jobs if job.status not in ENDED]
    runs = read_progress(open_storage(args.storage)) if jobs else []
    progress = {job: _run_of(job, runs) for job in jobs}
    if args.json:
        print(
            json.dumps(
                [
                    {**asdict(job), "run": asdict(run) if run else None}
                    for job, run in progress.items()
                ],
                indent=2,
            )
        )
        return 0
    if not jobs:
        print("no job is running" if not args.all else "no job has run")
        return 0
    rows: list[tuple[str, ...]] = []
    for job, run in progress.items():
        since = format_seconds((job.ended or time.time()) - job.started)
        began = datetime.fromtimestamp(job.started).strftime("%d %b %H:%M:%S")
        first = (job.name or job.number, job.status.lower(), began, since)
        if not run:
            rows.append((*first, "", job.entrypoint[:60], "", "", ""))
            continue
        for model in run.models:
            rows.append((*first, run.run, *_cells(model)))
            first = ("", "", "", "")
    print_table(
        ("job", "status", "started", "for", "run", "model", "state", "epoch", "to go"), rows
    )
    return 0


def _cells(model: ModelProgress) -> tuple[str, ...]:
    state = model.state
    if model.detail and model.state in ("waiting", "failed"):
        state += f" {model.detail}"
    left = format_seconds(model.seconds_left) if model.seconds_left is not None else ""
    running = model.state == "training"
    return (model.model, state, f"{model.epoch}/{model.epochs}", left if running else "")


def _run_of(job: RayJob, runs: Iterable[RunProgress]) -> RunProgress | None:
    """The run that a job works on; times are compared because job ids repeat on every cluster."""
    for run in runs:
        if run.job == job.number and job.started <= run.started <= (job.ended or time.time()):
            return run
    return None


def _logs(args: argparse.Namespace) -> int:
    server = JobServer(args.address)
    name = _find(server, args).name
    printed = 0
    while True:
        # The status is read before the log, so that the final output is not missed.
        ended = _named(server, name).status in ENDED
        log = server.log(name)
        sys.stdout.write(log[printed:])
        sys.stdout.flush()
        printed = len(log)
        if ended or not args.follow:
            return 0
        time.sleep(_POLL_S)


def _stop(args: argparse.Namespace) -> int:
    server = JobServer(args.address)
    job = _find(server, args)
    if job.status in ENDED:
        print(f"{job.name} has ended already: {job.status.lower()}")
        return 0
    server.stop(job.name)
    print(f"{job.name}: asked to stop; its trainings keep their last epochs", flush=True)
    while (status := _named(server, job.name).status) not in ENDED:
        time.sleep(_POLL_S)
    print(f"{job.name}: {status.lower()}")
    return 0 if status == "STOPPED" else EXIT_FAULT


def _find(server: JobServer, args: argparse.Namespace) -> RayJob:
    """The submitted job of this name, or the last job that worked on the run of this name."""
    submitted = [job for job in server.jobs() if job.name]
    for job in submitted:
        if job.name == args.job:
            return job
    runs = [run for run in read_progress(open_storage(args.storage)) if run.run == args.job]
    working = [job for job in submitted if _run_of(job, runs)]
    if not working:
        raise ColorganError(
            f"there is no job or run {args.job!r}; colorgan jobs --all lists all jobs"
        )
    return working[-1]


def _named(server: JobServer, name: str) -> RayJob:
    return next(job for job in server.jobs() if job.name == name)
