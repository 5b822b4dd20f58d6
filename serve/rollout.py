"""Waits until Ray Serve runs what was deployed, and says what it waits for or why it failed."""

import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from colorgan.errors import ColorganError

_POLL_SECONDS = 0.5
_SAY_SECONDS = 30.0
_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


def wait_until_running(address: str, names: Collection[str], patience_s: float) -> None:
    """Wait until applications run as they were deployed last; every half minute, say for what.

    Args:
        address: address of the Ray dashboard.
        names: the applications.
        patience_s: how long to wait, in seconds.

    Raises:
        ColorganError: an application failed, or does not run after this time.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    began = said = time.monotonic()
    client = ServeSubmissionClient(address)
    while True:
        applications = client.get_serve_details()["applications"]
        ours = {name: applications[name] for name in names}
        for name, application in ours.items():
            if application["status"] in _FAILED:
                reason = reason_of(_messages(application)) or _last_line(application["message"])
                raise ColorganError(
                    f"{name} was not updated, and replicas that ran before still serve: {reason}"
                )
        if all(each["status"] == "RUNNING" for each in ours.values()):
            return
        now = time.monotonic()
        waiting = "; ".join(_waiting(name, each) for name, each in ours.items())
        if now - began > patience_s:
            raise ColorganError(
                f"not all of the service runs after {patience_s:g} s; it goes on starting: "
                f"{waiting}; `serve status` shows how far it is"
            )
        if now - said > _SAY_SECONDS:
            print(f"since {now - began:.0f} s: {waiting}", file=sys.stderr, flush=True)
            said = now
        time.sleep(_POLL_SECONDS)


def reason_of(messages: Iterable[str]) -> str:
    """The sentence of the last ColorganError in tracebacks; empty without one."""
    found = [
        sentence
        for message in messages
        for sentence in re.findall(r"\bcolorgan\.errors\.\w+: (.+)$", message, re.MULTILINE)
    ]
    return str(found[-1]) if found else ""


def _last_line(message: str) -> str:
    """The line of a traceback that names the error."""
    return next((line for line in reversed(message.splitlines()) if line.strip()), "").strip()


def _messages(application: Mapping[str, Any]) -> list[str]:
    deployments = application["deployments"].values()
    return [application["message"], *(each["message"] for each in deployments)]


def _waiting(name: str, application: Mapping[str, Any]) -> str:
    """What an application waits for, as a clause."""
    deployments = application["deployments"]
    waiting = [each for each in deployments if deployments[each]["status"] != "HEALTHY"]
    if waiting:
        return f"{name} waits for {', '.join(waiting)}"
    return f"{name} is {application['status'].lower()}"
