"""colorgan jobs: what the cluster's jobs do, their logs, and a clean stop.

It speaks HTTP to Ray's job server, so it needs no Ray of its own.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.text import print_table
from colorgan.errors import ColorganError, ConfigError
from colorgan.storage import open_storage
from colorgan.training.progress import ModelProgress, RunProgress, format_seconds, read_progress

_DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_TIMEOUT_S = 30
_POLL_S = 1.0


@dataclass(frozen=True)
class RayJob:
    """A job as Ray's job server knows it.

    Attributes:
        name: its submission id; empty where it was not submitted but connected itself.
        number: Ray's number of its driver; empty before that has connected.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        entrypoint: the command.
        started: seconds since the Unix epoch.
        ended: the same; None while it runs.
    """

    name: str
    number: str
    status: str
    entrypoint: str
    started: float
    ended: float | None


class JobServer:
    """Ray's job server."""

    def __init__(self, address: str) -> None:
        """Take its address, http://host:port."""
        if not address.startswith(("http://", "https://")):
            raise ConfigError(
                f"--address {address}: give the job server's, as {_DEFAULT_ADDRESS}; to a cluster "
                "of `ray up`, `ray dashboard ray_config.yaml` opens it"
            )
        self._address = address.rstrip("/")
        self._session = requests.Session()
        token = _token()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def jobs(self) -> list[RayJob]:
        """All jobs, the oldest first."""
        found = []
        for job in self._ask("GET", ""):
            found.append(
                RayJob(
                    name=job.get("submission_id") or "",
                    number=job.get("job_id") or "",
                    status=job["status"],
                    entrypoint=job.get("entrypoint") or "",
                    started=(job.get("start_time") or 0) / 1000,
                    ended=job["end_time"] / 1000 if job.get("end_time") else None,
                )
            )
        return sorted(found, key=lambda job: job.started)

    def log(self, name: str) -> str:
        """All that a job has printed so far."""
        logs: str = self._ask("GET", f"{quote(name)}/logs")["logs"]
        return logs

    def stop(self, name: str) -> None:
        """Ask a job to end: its driver gets SIGTERM."""
        self._ask("POST", f"{quote(name)}/stop")

    def _ask(self, method: str, path: str) -> Any:
        try:
            answer = self._session.request(
                method, f"{self._address}/api/jobs/{path}", timeout=_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise ColorganError(
                f"no Ray answers at {self._address} ({type(error).__name__}): give --address, or "
                "open it with `ray dashboard ray_config.yaml`"
            ) from None
        if answer.status_code in (401, 403):
            raise ColorganError(
                f"{self._address} wants the cluster's token: set RAY_AUTH_TOKEN, or "
                "RAY_AUTH_TOKEN_PATH to its file"
            )
        if not answer.ok:
            last = answer.text.strip().splitlines()[-1:] or [answer.reason]
            raise ColorganError(f"{self._address} answered {answer.status_code}: {last[0]}")
        return answer.json()


def prepare_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan jobs`."""
    _add_address(parser, _default_address())
    parser.add_argument("--all", action="store_true", help="those that have ended, too")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(command=_list)
    actions = parser.add_subparsers(title="actions", metavar="logs|stop")
    logs = actions.add_parser("logs", help="print what a job has printed")
    logs.add_argument("-f", "--follow", action="store_true", help="until it ends")
    logs.set_defaults(command=_logs)
    stop = actions.add_parser(
        "stop", help="stop a job: its trainings keep their last epochs, and its run can go on"
    )
    stop.set_defaults(command=_stop)
    for action in (logs, stop):
        action.add_argument("job", metavar="JOB", help="its name, or its run's")
        add_storage_option(action, argparse.SUPPRESS)
        _add_address(action, argparse.SUPPRESS)


def _add_address(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        default=default,
        help=f"of Ray's job server (default: $RAY_API_SERVER_ADDRESS, or {_DEFAULT_ADDRESS})",
    )


def _default_address() -> str:
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    return address if address.startswith("http") else _DEFAULT_ADDRESS


def _token() -> str:
    """The cluster's token, as Ray itself finds it; empty where there is none."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _list(args: argparse.Namespace) -> int:
    jobs = JobServer(args.address).jobs()
    if not args.all:
        jobs = [job for job in jobs if job.status not in _ENDED]
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
        print("no job runs" if not args.all else "no job has run")
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
    """The run that a job works on: Ray counts its jobs anew on every cluster."""
    for run in runs:
        if run.job == job.number and job.started <= run.started <= (job.ended or time.time()):
            return run
    return None


def _logs(args: argparse.Namespace) -> int:
    server = JobServer(args.address)
    name = _find(server, args).name
    printed = 0
    while True:
        ended = _named(server, name).status in _ENDED  # asked first, so that its last words count
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
    if job.status in _ENDED:
        print(f"{job.name} has ended already: {job.status.lower()}")
        return 0
    server.stop(job.name)
    print(f"{job.name}: asked to stop; its trainings keep their last epochs", flush=True)
    while (status := _named(server, job.name).status) not in _ENDED:
        time.sleep(_POLL_S)
    print(f"{job.name}: {status.lower()}")
    return 0 if status == "STOPPED" else EXIT_FAULT


def _find(server: JobServer, args: argparse.Namespace) -> RayJob:
    """The submitted job of a name, or the last one that worked on the run of this name."""
    submitted = [job for job in server.jobs() if job.name]
    for job in submitted:
        if job.name == args.job:
            return job
    runs = [run for run in read_progress(open_storage(args.storage)) if run.run == args.job]
    working = [job for job in submitted if _run_of(job, runs)]
    if not working:
        raise ColorganError(f"no job {args.job!r}, nor one of that run: colorgan jobs --all")
    return working[-1]


def _named(server: JobServer, name: str) -> RayJob:
    return next(job for job in server.jobs() if job.name == name)
