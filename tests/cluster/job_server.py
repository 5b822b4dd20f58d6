"""Ray's job server, asked as `ray job submit` asks it, but without the seconds of its imports."""

import shlex
from collections.abc import Sequence
from typing import Any

import requests

from cluster.local import LocalRay
from tests.waiting import PATIENCE_S


def ask(ray: LocalRay, method: str, path: str, **request: Any) -> Any:
    """What the job server answers; raises requests.HTTPError."""
    token = ray.environment["RAY_AUTH_TOKEN"]
    answer = requests.request(
        method,
        f"{ray.jobs_address}/api/{path}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=PATIENCE_S,
        **request,
    )
    answer.raise_for_status()
    return answer.json()


def submit(ray: LocalRay, command: Sequence[str], **more: Any) -> str:
    """Submit a job; returns its name."""
    job = {"entrypoint": shlex.join(command), **more}
    return str(ask(ray, "POST", "jobs/", json=job)["submission_id"])


def alive(ray: LocalRay) -> list[str]:
    """The nodes that are alive."""
    nodes = ask(ray, "GET", "v0/nodes")["data"]["result"]["result"]
    return [node["node_id"] for node in nodes if node["state"] == "ALIVE"]
