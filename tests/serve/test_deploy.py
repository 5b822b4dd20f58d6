"""What is deployed, before Serve has it, and the replicas of a deployment without Serve."""

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.code import check_service_code, code_digest
from colorgan.errors import ColorganError, ConfigError
from colorgan.packages.card import find
from colorgan.storage import Storage, open_storage
from serve.backend import find_parts, loading_of
from serve.config import Choice, ServeConfig
from serve.deploy import choice_of, main, packages_of, pin_models
from serve.replicas import Replica
from serve.rollout import reason_of
from serve.workers import load_one_generator
from tests.conftest import CHECKOUT
from tests.serve.conftest import MODELS, publish_untrained


@pytest.fixture
def models(models: Storage, tmp_path: Path) -> Storage:
    """A copy of the session's models, to be changed."""
    root = tmp_path / "models"
    shutil.copytree(models.uri, root)
    return open_storage(str(root))


def document(storage: Storage, **args: Any) -> Any:
    """serve/production.yaml with other arguments of the application."""
    parsed = yaml.safe_load((CHECKOUT / "serve/production.yaml").read_text())
    parsed["applications"][0]["args"] |= {"storage": storage.uri, **args}
    return parsed


def application(pinned: Any) -> Any:
    (each,) = pinned["applications"]
    return each


def test_a_newer_release_changes_the_user_config_of_its_deployments_alone(models: Storage) -> None:
    before = pin_models(document(models))
    newer = publish_untrained(models, "people", seed=5)
    after = pin_models(document(models))
    changed = []
    for one, other in zip(
        *(application(each)["deployments"] for each in (before, after)), strict=True
    ):
        if one != other:
            changed.append(other["name"])
            assert newer.reference in other["user_config"]["packages"]
            one["user_config"] = other["user_config"]
    assert changed == ["router", "people"]
    assert before == after


def test_a_pinned_file_names_every_package_and_the_code(models: Storage) -> None:
    pinned = application(pin_models(document(models, models=[find(models, "animals").reference])))
    assert packages_of(pinned) == [find(models, each).reference for each in MODELS]
    args = ServeConfig(**pinned["args"])
    assert (args.served, args.code, args.models) == (MODELS, code_digest(), ())
    configs = {each["name"]: each.get("user_config") for each in pinned["deployments"]}
    assert configs["animals"]["max_batch_size"] == 8, "settings of the file stay"
    assert configs["general"] == {"packages": [find(models, "general").reference]}
    assert configs["ingress"] is None


def test_one_process_has_the_packages_of_all_deployments(models: Storage) -> None:
    composed = application(pin_models(document(models)))
    alone = application(pin_models(document(models), one_process=True))
    assert [each["name"] for each in alone["deployments"]] == ["ingress"]
    assert alone["args"]["one_process"] is True
    assert choice_of(alone) == choice_of(composed)
    again = document(models, one_process=True)
    again["applications"][0]["deployments"] = [{"name": "ingress"}]
    assert choice_of(application(pin_models(again))) == choice_of(composed)


def test_applications_that_share_a_deployment_in_yaml_keep_their_own_packages(
    models: Storage,
) -> None:
    shared = document(models)
    (first,) = shared["applications"]
    ingress = [each for each in first["deployments"] if each["name"] == "ingress"]
    args = {**first["args"], "one_process": True}
    shared["applications"].append({**first, "name": "b", "args": args, "deployments": ingress})
    loaded = yaml.safe_load(yaml.safe_dump(shared))
    composed, alone = pin_models(loaded)["applications"]
    assert choice_of(composed) == choice_of(alone)
    assert all("user_config" not in each for each in composed["deployments"][:1])


def test_deployments_that_one_process_replaces_are_refused_in_a_file(models: Storage) -> None:
    with pytest.raises(ConfigError, match="with one_process the ingress does their work"):
        pin_models(document(models, one_process=True))


def test_a_damaged_package_is_refused_before_anything_is_deployed(
    models: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = f"models/people/{publish_untrained(models, 'people').version}/generator.safetensors"
    models.put(key, models.get(key)[:-9])
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump(document(models)))
    assert main([str(file), "--address", "http://127.0.0.1:9"]) == 1
    assert f"error: {key} has " in capsys.readouterr().err


def test_other_code_is_refused_in_one_sentence(models: Storage) -> None:
    check_service_code(code_digest())
    other = "0" * 64
    loading = loading_of(ServeConfig(storage=models.uri, device="cpu"))
    with pytest.raises(ColorganError, match=rf"another version of colorgan, in {CHECKOUT}, than"):
        Replica(load_one_generator, loading, None, other)


def test_a_replica_loads_other_packages_in_place_and_keeps_what_works(models: Storage) -> None:
    first = find(models, "people")
    second, damaged = (publish_untrained(models, "people", seed=seed) for seed in (8, 9))
    key = f"models/people/{damaged.version}/generator.safetensors"
    models.put(key, models.get(key)[:-9])
    loading = loading_of(ServeConfig(storage=models.uri, device="cpu"))

    async def run() -> list[str]:
        replica = Replica(load_one_generator, loading, None, code_digest())
        with pytest.raises(ConfigError, match="names no packages"):
            await replica.reconfigure({})
        with pytest.raises(ColorganError, match="bytes instead of"):
            await replica.reconfigure({"packages": [damaged.reference]})
        served = []
        for card in (first, damaged, second):
            await replica.reconfigure({"packages": [card.reference], "max_batch_size": 4})
            await replica.check_health()
            served.append((await replica.info()).reference)
        return served

    assert asyncio.run(run()) == [first.reference, first.reference, second.reference]


def test_a_replica_without_packages_in_its_settings_loads_those_of_the_application(
    models: Storage,
) -> None:
    config = ServeConfig(storage=models.uri, device="cpu")
    default = find_parts(config).choices(False)["people"]
    assert default == Choice(packages=(find(models, "people").reference,))

    async def run() -> str:
        replica = Replica(load_one_generator, loading_of(config), default, code_digest())
        await replica.reconfigure({})
        return (await replica.info()).reference

    assert asyncio.run(run()) == find(models, "people").reference


def test_the_reason_of_a_failure_is_the_last_sentence_of_colorgan() -> None:
    trace = "Traceback\ncolorgan.errors.ColorganError: one\n"
    wrapped = "RuntimeError: Traceback\n  x\ncolorgan.errors.ConfigError: the other; do so\n"
    assert reason_of([trace, "no replica", wrapped]) == "the other; do so"
    assert reason_of(["no replica"]) == ""
    assert re.fullmatch(r"[0-9a-f]{64}", code_digest())
