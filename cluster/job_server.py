"""A client of Ray's job server over HTTP, which does not need Ray itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from colorgan.errors import ColorganError, ConfigError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_TIMEOUT_S = 30


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
    """

    name: str
    number: str
    status: str
    entrypoint: str
    started: float
    ended: float | None


class JobServer:
    """A client of Ray's job server.

    Its methods raise ColorganError if the server does not answer or refuses the request.
    """

    def __init__(self, address: str) -> None:
        """Take the server's address, http://host:port; raises ConfigError for any other form."""
        if not address.startswith(("http://", "https://")):
            raise ConfigError(
                f"--address {address}: give the job server's, as {DEFAULT_ADDRESS}; to a cluster "
                "of `ray up`, `ray dashboard ray_config.yaml` opens it"
            )
        self._address = address.rstrip("/")
        self._session = requests.Session()
        token = _token()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def jobs(self) -> list[RayJob]:
        """All jobs, oldest first."""
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
        """The output of a job so far."""
        logs: str = self._ask("GET", f"{quote(name)}/logs")["logs"]
        return logs

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
            raise ColorganError(
                f"{self._address} requires the cluster's token: set RAY_AUTH_TOKEN, or "
                "RAY_AUTH_TOKEN_PATH to its file"
            )
        if not answer.ok:
            last = answer.text.strip().splitlines()[-1:] or [answer.reason]
            raise ColorganError(f"{self._address} answered {answer.status_code}: {last[0]}")
        return answer.json()


def default_address() -> str:
    """The job server's address from the environment, or that of a Ray on this machine."""
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    return address if address.startswith("http") else DEFAULT_ADDRESS


def _token() -> str:
    """The cluster's token, looked up where Ray looks for it; empty if there is no token."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip()
    except OSError:
        return ""
