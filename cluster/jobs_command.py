"""The command `colorgan jobs`: list the jobs, print a job's log, stop a job cleanly."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from textwrap import shorten

from cluster.job_list import Job, find_jobs
from cluster.job_server import DEFAULT_ADDRESS, JobServer, RayJob, default_address
from colorgan.commands.process import EXIT_FAULT, EXIT_INTERRUPTED, add_storage_option
from colorgan.commands.text import add_wide_option, print_note, print_table
from colorgan.errors import ColorganError, ConfigError
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import find_lease, request_stop, stop_is_heard
from colorgan.training.progress import ModelProgress, format_seconds

_POLL_S = 1.0
_HEARING_S = 30.0  # a job that has not heard a request for so long is stopped by Ray
_PATIENCE_S = 600.0  # for a job that has heard it to save its state
_SAY_S = 15.0
_SHOWN = 60  # characters of a command or a reason that are shown


# What continues a job that was killed or stopped.
_AGAIN = "start it again with the same command and name to continue it"


def prepare_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan jobs`."""
    _add_address(parser, None)
    parser.add_argument("--all", action="store_true", help="also list jobs that have ended")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    add_wide_option(parser)
    parser.set_defaults(command=_list)
    actions = parser.add_subparsers(title="actions", metavar="logs|stop")
    logs = actions.add_parser("logs", help="print what a job has printed")
    logs.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="keep printing until it ends, and end with its exit status",
    )
    logs.set_defaults(command=_logs)
    stop = actions.add_parser(
        "stop",
        help="stop a job: its trainings keep their state, and its run can be continued",
    )
    stop.set_defaults(command=_stop)
    for action in (logs, stop):
        action.add_argument(
            "job", metavar="JOB", help="name of the job, or of its run, sweep, report or dataset"
        )
        add_storage_option(action, argparse.SUPPRESS)
        _add_address(action, argparse.SUPPRESS)


def _add_address(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        default=default,
        help=f"address of Ray's job server (default: $RAY_API_SERVER_ADDRESS, or "
        f"{DEFAULT_ADDRESS})",
    )


def _list(args: argparse.Namespace) -> int:
    _, jobs = _found(args, open_storage(args.storage))
    if not args.all:
        jobs = [job for job in jobs if not job.over]
    if args.json:
        print(json.dumps([_document(job) for job in jobs], indent=2))
        return 0
    if not jobs:
        print("no job is running" if not args.all else "no job has run")
        return 0
    rows: list[tuple[str, ...]] = []
    for job in jobs:
        rows += _rows(job)
    headings = (
        "job",
        "status",
        "started (UTC)",
        "for",
        "works on",
        "model",
        "state",
        "done",
        "to go",
    )
    spare = () if args.wide else ("started (UTC)", "works on", "for", "state")
    print_table(headings, rows, spare)
    for job in jobs:
        if job.left_behind:
            print(f"{_name_of(job)} {job.death}: {_AGAIN}")
    return 0


def _name_of(job: Job) -> str:
    """The name of the run or another thing that a job works on."""
    return job.thing.partition("/")[2]


def _found(args: argparse.Namespace, storage: Storage) -> tuple[JobServer, list[Job]]:
    """The job server, and all jobs; only those in storage if no server answers by default."""
    server = JobServer(args.address or default_address())
    known: list[RayJob] = []
    try:
        known = server.jobs()
    except ConfigError:
        raise
    except ColorganError as error:
        if args.address or server.refused:
            raise
        jobs = find_jobs(storage, [])
        if not jobs:
            raise
        print_note(f"{error}; these are the jobs that {storage.uri} knows")
        return server, jobs
    return server, find_jobs(storage, known)


def _document(job: Job) -> dict[str, object]:
    """A job as JSON."""
    known = asdict(job.ray) if job.ray else {}
    return {
        **known,
        "name": job.name,
        "status": job.status,
        "started": job.started,
        "run": {**asdict(job.run), "models": [asdict(m) for m in job.models()]}
        if job.run
        else None,
        "lease": asdict(job.lease) if job.lease else None,
    }


def _rows(job: Job) -> list[tuple[str, ...]]:
    """A line for the job, and one for each of its models."""
    began = datetime.fromtimestamp(job.started, UTC).strftime("%d %b %H:%M:%S")
    command = job.ray.entrypoint if job.ray else job.lease.command if job.lease else ""
    works_on = job.asked or _shortened(command)
    done, to_go = job.progress()
    waits = job.lease.waits_for if job.lease and not job.left_behind else ""
    models = job.models()
    first = (job.name, job.status.lower(), began, format_seconds(job.seconds), works_on)
    if not models:
        return [(*first, "", f"waiting for {waits}" if waits else "", done, to_go)]
    if len(models) == 1:
        return [(*first, *_cells(models[0]))]
    return [
        (*first, f"{len(models)} models", "", done, to_go),
        *(("", "", "", "", "", *_cells(model)) for model in models),
    ]


def _cells(model: ModelProgress) -> tuple[str, ...]:
    state = model.state
    if model.detail and model.state not in ("training", "done"):
        state += f": {_shortened(model.detail)}"
    left = format_seconds(model.seconds_left) if model.seconds_left is not None else ""
    running = model.state == "training"
    return (model.model, state, f"{model.epoch} of {model.epochs} epochs", left if running else "")


def _shortened(text: str) -> str:
    return shorten(text, _SHOWN, placeholder=" …")


def _logs(args: argparse.Namespace) -> int:
    server, job = _find(args, open_storage(args.storage))
    if not (job.ray and job.ray.name):
        raise ColorganError(f"{job.name} {_whereabouts(job)}: its output is where it was started")
    if not args.follow:
        _write(server.log(job.ray.name))
        return 0
    server.follow(job.ray.name, _write)
    return _exit_status(server.job(job.ray.name))


def _whereabouts(job: Job) -> str:
    """Where a process runs that was not submitted to Ray, in words."""
    if job.lease:
        return f"is {job.lease.owner} and was not started with `ray job submit`"
    return "was not started with `ray job submit`"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _exit_status(job: RayJob) -> int:
    """The exit status of a job's command, as a shell would give it."""
    if job.status == "SUCCEEDED":
        return 0
    if job.exit_status is not None and job.exit_status < 0:
        return 128 - job.exit_status  # it was killed by a signal
    if job.status == "STOPPED":
        return EXIT_INTERRUPTED
    return job.exit_status or EXIT_FAULT


def _stop(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    server, job = _find(args, storage)
    if job.left_behind:
        print(f"{job.name} {job.death} already; {_AGAIN}")
        return 0
    if job.over:
        print(f"{job.name} has ended already: {job.status.lower()}")
        return 0
    if job.lease:
        _ask_through_storage(storage, server, job)
    elif job.ray and job.ray.name:
        _ask_through_ray(server, job.ray)
    else:
        raise ColorganError(f"{job.name} {_whereabouts(job)}: stop it where it was started")
    if not (job.ray and job.ray.name):
        print(f"{job.name}: stopped; {_AGAIN}")
        return 0
    while not (ended := server.job(job.ray.name)).over:
        time.sleep(_POLL_S)
    way_on = f"; {_AGAIN}" if ended.status == "STOPPED" and job.thing else ""
    print(f"{job.name}: {ended.status.lower()}{way_on}")
    return 0 if ended.status == "STOPPED" else EXIT_FAULT


def _ask_through_storage(storage: Storage, server: JobServer, job: Job) -> None:
    """Ask the owner of a lease to stop, and wait until it has given the lease back.

    Unlike Ray, which kills a job a few seconds after it has asked it to stop, this leaves the job
    the time that it needs to save its state.
    """
    assert job.lease is not None
    request_stop(storage, job.lease)
    print(f"{job.name}: asked to stop; waiting until it has saved its state", flush=True)
    began, said, heard = time.monotonic(), 0.0, False
    while True:
        now = find_lease(storage, job.lease.thing)
        if now is None or now.number != job.lease.number or now.presumed_dead():
            return
        waited = time.monotonic() - began
        heard = heard or stop_is_heard(storage, job.lease)
        if not heard and waited > _HEARING_S:
            if not (job.ray and job.ray.name):
                raise ColorganError(
                    f"{job.name} has not heard the request for {_HEARING_S:.0f} s: stop "
                    f"{job.lease.owner} there"
                )
            _ask_through_ray(server, job.ray)
            return
        if waited > _PATIENCE_S:
            raise ColorganError(
                f"{job.name} has been stopping for {format_seconds(waited)}: see its log, or stop "
                f"{job.lease.owner} there"
            )
        if waited - said > _SAY_S:
            said = waited
            doing = "saving its state" if heard else "not heard yet"
            print(f"{job.name}: {doing}, {waited:.0f} s", flush=True)
        time.sleep(_POLL_S)


def _ask_through_ray(server: JobServer, job: RayJob) -> None:
    server.stop(job.name)
    print(
        f"{job.name}: asked Ray to stop it; Ray kills it after $RAY_JOB_STOP_WAIT_TIME_S of the "
        "cluster, 3 s by default",
        flush=True,
    )


def _find(args: argparse.Namespace, storage: Storage) -> tuple[JobServer, Job]:
    """The job of this name, or the last one that worked on the thing of this name."""
    server, jobs = _found(args, storage)
    for job in jobs:
        if args.job in (job.name, job.ray.number if job.ray else None):
            return server, job
    working = [job for job in jobs if args.job in (job.thing, _name_of(job))]
    # One that has ended is known by its command alone, which may have been refused.
    working = working or [
        job for job in jobs if args.job in (job.asked, job.asked.partition("/")[2])
    ]
    if not working:
        raise ColorganError(
            f"there is no job or run {args.job!r}; colorgan jobs --all lists all jobs"
        )
    return server, working[-1]
