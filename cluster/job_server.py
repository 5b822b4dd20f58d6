"""A client of Ray's job server over HTTP, which does not need Ray itself."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from cluster.reach import cluster_token
from colorgan.commands.process import EXIT_INTERRUPTED
from colorgan.errors import ColorganError, ConfigError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_TIMEOUT_S = 30
_RECONNECT_S = 1.0


@dataclass(frozen=True)
class RayJob:
    """A job as Ray's job server knows it.

    Attributes:
        name: submission id; empty for a driver that connected directly instead of being submitted.
        number: Ray's job id of the driver; empty until the driver has connected.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        entrypoint: the command.
        started: start time in seconds since the Unix epoch.
        ended: end time in seconds since the Unix epoch; None while the job runs.
        exit_status: exit status of its command; None while it runs, or if it is not known.
        pid: process ID of the driver; None until the driver has connected.
        reason: the last line of what Ray says about its end.
    """

    name: str
    number: str
    status: str
    entrypoint: str
    started: float
    ended: float | None
    exit_status: int | None = None
    pid: int | None = None
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.status in ENDED


class JobServer:
    """A client of Ray's job server.

    Its methods raise ColorganError if the server does not answer or refuses the request.

    Attributes:
        refused: whether a server has answered and refused the token.
    """

    def __init__(self, address: str) -> None:
        """Take the server's address, http://host:port; raises ConfigError for any other form."""
        if not address.startswith(("http://", "https://")):
            raise ConfigError(
                f"--address {address}: give the job server's, as {DEFAULT_ADDRESS}; to a cluster "
                "of `ray up`, `ray dashboard ray_config.yaml` opens it"
            )
        self.refused = False
        self._address = address.rstrip("/")
        self._session = requests.Session()
        token = cluster_token()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def jobs(self) -> list[RayJob]:
        """All jobs, oldest first."""
        found = []
        for job in self._ask("GET", ""):
            status = job.get("driver_exit_code")
            # A job that was stopped by `colorgan jobs stop` or Ctrl-C ends with this status.
            stopped = job["status"] == "FAILED" and status == EXIT_INTERRUPTED
            lines = (job.get("message") or "").strip().splitlines()
            found.append(
                RayJob(
                    name=job.get("submission_id") or "",
                    number=job.get("job_id") or "",
                    status="STOPPED" if stopped else job["status"],
                    entrypoint=job.get("entrypoint") or "",
                    started=(job.get("start_time") or 0) / 1000,
                    ended=job["end_time"] / 1000 if job.get("end_time") else None,
                    exit_status=status,
                    pid=_pid(job),
                    reason=lines[-1] if lines else "",
                )
            )
        return sorted(found, key=lambda job: job.started)

    def log(self, name: str) -> str:
        """The output of a job so far."""
        logs: str = self._ask("GET", f"{quote(name)}/logs")["logs"]
        return logs

    def job(self, name: str) -> RayJob:
        """The job of a submission id; raises ColorganError if Ray has forgotten it."""
        for job in self.jobs():
            if job.name == name:
                return job
        raise ColorganError(f"{self._address} does not know the job {name} any more")

    def follow(self, name: str, write: Callable[[str], None]) -> None:
        """Write the output of a job until it ends, each character once.

        If the connection breaks, it is opened again, and what was written before is left out.
        """
        tail = _Tail(f"{self._address}/api/jobs/{quote(name)}/logs/tail", write)
        headers = {key: str(value) for key, value in self._session.headers.items()}
        while True:
            asyncio.run(tail.receive(headers))
            if self.job(name).over:
                # What came between the last message and the end.
                tail.write(self.log(name))
                return
            time.sleep(_RECONNECT_S)

    def stop(self, name: str) -> None:
        """Ask a job to end: Ray sends SIGTERM to its driver."""
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
            self.refused = True
            raise ColorganError(
                f"{self._address} requires the cluster's token: set RAY_AUTH_TOKEN, or "
                "RAY_AUTH_TOKEN_PATH to its file"
            )
        if not answer.ok:
            last = answer.text.strip().splitlines()[-1:] or [answer.reason]
            raise ColorganError(f"{self._address} answered {answer.status_code}: {last[0]}")
        return answer.json()


class _Tail:
    """The end of a log, which Ray sends as messages of a WebSocket."""

    def __init__(self, address: str, write: Callable[[str], None]) -> None:
        self._address, self._write = address, write
        self._written = 0

    async def receive(self, headers: dict[str, str]) -> None:
        """Write what comes until the connection ends, for whatever reason."""
        import aiohttp  # takes as long to import as everything else here

        place = 0
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.ws_connect(self._address, heartbeat=_TIMEOUT_S, max_msg_size=0) as socket,
            ):
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        self._write_from(place, message.data)
                        place += len(message.data)

    def write(self, log: str) -> None:
        """Write what the whole log has more than was written."""
        self._write_from(0, log)

    def _write_from(self, place: int, text: str) -> None:
        """Write the part of a text that was not written before; it begins at a place of the log."""
        fresh = text[max(0, self._written - place) :]
        if fresh:
            self._write(fresh)
            self._written = place + len(text)


def _pid(job: dict[str, Any]) -> int | None:
    try:
        return int(job["driver_info"]["pid"])
    except (KeyError, TypeError, ValueError):
        return None


def default_address() -> str:
    """The job server's address from the environment, or that of a Ray on this machine."""
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    return address if address.startswith("http") else DEFAULT_ADDRESS
