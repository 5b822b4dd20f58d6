"""Deploy the service on a running cluster, with the released models.

    python -m serve.deploy serve/production.yaml

This pins the models in the file and runs `serve deploy` on it. Serve rebuilds an application only
when its file has changed, so later releases would not be deployed without the pins. What has been
deployed is recorded in storage, so that `colorgan models remove` keeps it.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from colorgan.commands.process import guarded
from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.services import deployed, record_deployment
from colorgan.storage import Storage, open_storage
from colorgan.temporary import temporary_folder
from serve.backend import Parts, find_parts
from serve.config import ServeConfig

IMPORT_PATH = "serve.app:build"


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m serve.deploy", description=__doc__)
    parser.add_argument("file", type=Path, help="as serve/production.yaml")
    parser.add_argument(
        "--address", help="address of the Ray dashboard (default: $RAY_DASHBOARD_ADDRESS)"
    )
    args = parser.parse_args(argv)
    return guarded(lambda: _deploy(args.file, args.address))


def _deploy(file: Path, address: str | None) -> int:
    try:
        document = pin_models(yaml.safe_load(file.read_text()))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    cluster = address or os.environ.get("RAY_DASHBOARD_ADDRESS") or socket.gethostname()
    for application in _ours(document):
        for line in _describe(application, cluster):
            print(line, flush=True)
    with temporary_folder("deploy") as folder:
        pinned = folder / "config.yaml"
        pinned.write_text(yaml.safe_dump(document, sort_keys=False))
        command = [sys.executable, "-m", "ray.serve.scripts", "deploy", str(pinned)]
        done = subprocess.run([*command, *(["--address", address] if address else [])])
    if done.returncode:
        raise ColorganError("serve deploy refused it; its output above says why")
    for application in _ours(document):
        try:
            record_deployment(
                _storage(application), application["name"], cluster, _packages(application)
            )
        except ColorganError as error:
            note = (
                f"colorgan models remove does not know what {application['name']} serves: {error}"
            )
            print(f"note: {note}", file=sys.stderr, flush=True)
    return 0


def _ours(document: Any) -> list[Any]:
    """The applications of a document that are this service."""
    return [each for each in document["applications"] if each["import_path"] == IMPORT_PATH]


def _storage(application: Any) -> Storage:
    return with_embedded(open_storage(application["args"].get("storage")))


def _packages(application: Any) -> list[str]:
    """The packages that a pinned application serves, its router's head included."""
    args = application["args"]
    head = args["router"].get("head")
    return [*args["models"], *([head] if head else [])]


def _describe(application: Any, cluster: str) -> Iterator[str]:
    """Lines on what is deployed, what it replaces and what is pinned instead of a release."""
    name, args, storage = application["name"], application["args"], _storage(application)
    by = f"{args['router']['router']} {args['router'].get('head', '')}".strip()
    yield f"{name}: {', '.join(args['models'])}; router {by}"
    packages = _packages(application)
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


def pin_models(document: Any) -> Any:
    """Pin the router and the version of every model that would be served now.

    Args:
        document: the parsed YAML file, which is changed in place and returned.

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
        _check_deployments(application, parts)
        pins = [card.reference for card in parts.cards.values()]
        router = {key: value for key, value in asdict(parts.router).items() if value}
        application["args"] = {**application.get("args", {}), "models": pins, "router": router}
    return document


def _check_deployments(application: Any, parts: Parts) -> None:
    """Check the names of deployments, since Serve rejects unknown ones after the command ends."""
    known = ("ingress", "router", *parts.cards)
    named = [deployment["name"] for deployment in application.get("deployments", [])]
    unknown = [name for name in named if name not in known]
    if unknown:
        raise ConfigError(
            f"the file has deployments of {', '.join(unknown)}, and what is served is "
            f"{', '.join(parts.cards)}: name these instead"
        )


if __name__ == "__main__":
    sys.exit(main())
