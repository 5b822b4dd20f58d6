"""Deploy the service on a running cluster, with the released models.

    python -m serve.deploy serve/production.yaml

This pins the models in the file, loads them once to see that they work, and runs `serve deploy` on
the file. Newer releases are loaded by the replicas that run; if anything else has changed, Serve
replaces every replica, and needs twice the memory meanwhile. What has been deployed is recorded in
storage, so that `colorgan models remove` keeps it.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cluster.code import code_digest
from colorgan.commands.process import guarded
from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.names import ROUTER
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.services import deployed, record_deployment
from colorgan.storage import Storage, open_storage
from colorgan.temporary import temporary_folder
from serve.backend import INGRESS, Parts, find_parts
from serve.config import Choice, ServeConfig
from serve.rollout import wait_until_running
from serve.workers import Loading, load_workers

IMPORT_PATH = "serve.app:build"
_WAIT_SECONDS = 1800  # an autoscaler takes minutes to start a machine, and compilation one a model
_DASHBOARD = "http://localhost:8265"  # the default of `serve deploy`


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m serve.deploy", description=__doc__)
    parser.add_argument("file", type=Path, help="as serve/production.yaml")
    parser.add_argument(
        "--address", help="address of the Ray dashboard (default: $RAY_DASHBOARD_ADDRESS)"
    )
    parser.add_argument(
        "--one-process",
        action="store_true",
        help="run the router and all models in the ingress's process, which takes less memory; the "
        "same as `one_process: true` in the file's args, whose deployments of these are left out",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=int,
        default=_WAIT_SECONDS,
        help="maximum time until the service runs what was deployed (default: %(default)s); "
        "0 does not wait",
    )
    args = parser.parse_args(argv)
    return guarded(lambda: _deploy(args.file, args.address, args.one_process, args.wait))


def _deploy(file: Path, address: str | None, one_process: bool, wait_s: int) -> int:
    try:
        document = pin_models(yaml.safe_load(file.read_text()), one_process)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    cluster = address or os.environ.get("RAY_DASHBOARD_ADDRESS") or socket.gethostname()
    for application in _ours(document):
        for line in _describe(application, cluster):
            print(line, flush=True)
        # Replicas that cannot load their new packages go on serving those before.
        place = open_storage(application["args"].get("storage")).uri
        load_workers(Loading(place, "cpu", compile=False, threads=1), choice_of(application))
    _record(document, cluster, with_those_before=True)
    with temporary_folder("deploy") as folder:
        pinned = folder / "config.yaml"
        pinned.write_text(yaml.safe_dump(document, sort_keys=False))
        command = [sys.executable, "-m", "ray.serve.scripts", "deploy", str(pinned)]
        done = subprocess.run([*command, *(["--address", address] if address else [])])
    if done.returncode:
        raise ColorganError("serve deploy refused it; its output above says why")
    if wait_s:
        names = [application["name"] for application in _ours(document)]
        where = address or os.environ.get("RAY_DASHBOARD_ADDRESS") or _DASHBOARD
        wait_until_running(where, names, wait_s)
        _record(document, cluster)
    return 0


def _record(document: Any, cluster: str, with_those_before: bool = False) -> None:
    """Record what each application serves; replicas may serve those before until all run."""
    for application in _ours(document):
        name, packages = application["name"], packages_of(application)
        try:
            storage = _storage(application)
            last = deployed(storage, name, cluster) if with_those_before else None
            kept = [each for each in (last.packages if last else ()) if each not in packages]
            record_deployment(storage, name, cluster, [*packages, *kept])
        except ColorganError as error:
            note = f"colorgan models remove does not know what {name} serves: {error}"
            print(f"note: {note}", file=sys.stderr, flush=True)


def _ours(document: Any) -> list[Any]:
    """The applications of a document that are this service."""
    return [each for each in document["applications"] if each["import_path"] == IMPORT_PATH]


def _storage(application: Any) -> Storage:
    return with_embedded(open_storage(application["args"].get("storage")))


def choice_of(application: Any) -> Choice:
    """The packages and the router that a pinned application serves, over all its deployments."""
    settings = [each.get("user_config") or {} for each in application["deployments"]]
    packages = dict.fromkeys(name for each in settings for name in each.get("packages", ()))
    (chosen,) = (each for each in settings if each.get("router"))
    objects = chosen.get("objects")
    return Choice(packages=tuple(packages), router=chosen["router"], objects=objects)


def packages_of(application: Any) -> list[str]:
    """The packages that a pinned application serves; see `Choice.references`."""
    return choice_of(application).references


def _describe(application: Any, cluster: str) -> Iterator[str]:
    """Lines on what is deployed, what it replaces and what is pinned instead of a release."""
    name, storage, choice = application["name"], _storage(application), choice_of(application)
    assert choice.router
    by = f"{choice.router.router} {choice.router.head}".strip()
    yield f"{name}: {', '.join(choice.packages)}; router {by}"
    packages = packages_of(application)
    last = deployed(storage, name, cluster)
    before = dict(each.split("@") for each in last.packages) if last else {}
    for package in packages:
        model, version = package.split("@")
        if before.get(model, version) != version:
            yield f"{name}: {package} replaces {model}@{before[model]}"
    for package in packages:
        model = package.partition("@")[0]
        with suppress(NotInStorage, Corrupt):
            released = find(storage, model).reference
            if released != package:
                yield f"note: {package} is pinned, and {released} is released"


def pin_models(document: Any, one_process: bool = False) -> Any:
    """Pin the router and the version of every model that would be served now.

    The versions become part of the user_config of each deployment, which Serve applies without
    starting a process. The rest of an application is the same for all versions.

    Args:
        document: the parsed YAML file, which is changed in place and returned.
        one_process: whether to serve all models in one process, whatever the file says.

    Raises:
        ConfigError: the document does not describe this application, or names deployments that the
            application would not have.
        NotInStorage: there is no model, or no router fits the models.
    """
    try:
        applications = _ours(document)
        configs = [ServeConfig(**application.get("args", {})) for application in applications]
    except (TypeError, KeyError):
        raise ConfigError("the file has no `applications` with an `import_path`") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"the file's args cannot be used: {'; '.join(faults)}") from None
    if not applications:
        raise ConfigError(f"the file has no application of {IMPORT_PATH}")
    for application, config in zip(applications, configs, strict=True):
        parts = find_parts(config)
        if one_process:
            config = config.model_copy(update={"one_process": True})
            _keep_ingress(application, parts)
        choices = parts.choices(config.one_process)
        _check_deployments(application, {INGRESS, *choices}, parts)
        args = application.get("args", {})
        application["args"] = {
            **{name: args[name] for name in args if name not in ("models", "router", "objects")},
            "one_process": config.one_process,
            "served": list(parts.cards),
            "code": code_digest(),
        }
        _set_choices(application, choices)
    return document


def _keep_ingress(application: Any, parts: Parts) -> None:
    """Drop the deployments that one process replaces."""
    replaced = (ROUTER, *parts.cards)
    application["deployments"] = [
        each for each in application.get("deployments", []) if each["name"] not in replaced
    ]


def _set_choices(application: Any, choices: Mapping[str, Choice]) -> None:
    """Add the packages of each deployment to its user_config."""
    # Applications may share a deployment by an anchor of YAML.
    deployments = {each["name"]: dict(each) for each in application.get("deployments", [])}
    for name, choice in choices.items():
        deployment = deployments.setdefault(name, {"name": name})
        deployment["user_config"] = {**(deployment.get("user_config") or {}), **choice.settings()}
    application["deployments"] = list(deployments.values())


def _check_deployments(application: Any, known: Collection[str], parts: Parts) -> None:
    """Check the names of deployments, since Serve rejects unknown ones after the command ends."""
    named = [deployment["name"] for deployment in application.get("deployments", [])]
    unknown = [name for name in named if name not in known]
    if unknown and known != {INGRESS}:
        raise ConfigError(
            f"the file has deployments of {', '.join(unknown)}, and what is served is "
            f"{', '.join(parts.cards)}: name these instead"
        )
    if unknown:
        raise ConfigError(
            f"the file has deployments of {', '.join(unknown)}, and with one_process the ingress "
            "does their work: leave them out, or set one_process to false"
        )


if __name__ == "__main__":
    sys.exit(main())
