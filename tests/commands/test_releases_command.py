"""`colorgan models list --all, release, rollback, history, remove`, and --tag and --no-publish."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import NotInStorage
from colorgan.evaluation.contestants import default_models
from colorgan.inference.assembled import assemble
from colorgan.inference.router_choice import RouterConfig
from colorgan.packages.card import find, whole_versions
from colorgan.packages.embedded import embedded_note, with_embedded
from colorgan.packages.releases import release_sentence
from colorgan.packages.services import record_deployment
from colorgan.packages.weights import publish
from colorgan.storage import Storage
from colorgan.training.config import SpeedConfig
from colorgan.training.plan import Publishing, RunRequest, plan_run
from colorgan.training.presets import find_preset
from serve.backend import find_cards
from serve.deploy import _describe, packages_of, pin_models
from tests.conftest import SMALL
from tests.packages.test_packages import animals
from tests.packages.test_releases import in_use, published

CLASSES = ("animals", "people", "vehicles")


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


def models(storage: Storage, *arguments: str) -> int:
    return main(["models", *arguments, "--storage", storage.uri])


def states(storage: Storage, out: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The state of each version in the table of `list --all`."""
    assert models(storage, "list", "--all") == 0
    heading, *rows = out.readouterr().out.splitlines()
    start, end = heading.index("state"), heading.index("architecture")
    return {row.split()[0]: row[start:end].strip() for row in rows}


def test_an_evening_of_releases(scenes: Dataset, out: pytest.CaptureFixture[str]) -> None:
    storage = scenes.storage
    first, worse = published(scenes), published(scenes, val_l1=12.0)
    candidate = published(scenes, val_l1=8.0, tag="candidate")
    assert states(storage, out) == {first: "released", worse: "-", candidate: "candidate"}
    assert models(storage) == 0
    *table, hint = out.readouterr().out.splitlines()
    assert [row.split()[0] for row in table] == ["model", first]
    assert hint == f"not released: {candidate}; colorgan models list --all shows more"

    assert models(storage, "release", worse) == 1
    (line,) = out.readouterr().err.splitlines()
    assert re.match(f"error: {worse} is not released: it is worse than {first} on the", line)
    assert models(storage, "release", candidate) == 0
    said = out.readouterr().out
    assert said.startswith(f"{candidate} is released instead of {first}: it is not worse ")
    assert models(storage, "release", worse, "--force") == 0
    said = out.readouterr().out
    assert said.startswith(f"{worse} is released by --force instead of {candidate}, although it is")
    assert models(storage, "rollback", "animals") == 0
    said = out.readouterr().out.splitlines()[-1]
    assert said == f"{candidate} is released again instead of {worse}"
    assert in_use(storage) == candidate

    record_deployment(storage, "colorgan", "here", [first])
    assert states(storage, out) == {
        first: "replaced, served",
        worse: "replaced",
        candidate: "released, candidate",
    }
    assert models(storage, "remove", candidate) == models(storage, "remove", first) == 1
    refusals = out.readouterr().err.splitlines()
    assert [re.search("is (released|served) and is not", each)[1] for each in refusals] == [  # type: ignore[index]
        "released",
        "served",
    ]
    assert models(storage, "remove", worse) == 0
    assert out.readouterr().out == f"{worse} is removed\n"

    assert models(storage, "history", "animals") == 0
    rows = out.readouterr().out.splitlines()[1:]
    assert [re.search("release, forced|release|rollback", row)[0] for row in rows] == [  # type: ignore[index]
        "release",
        "release",
        "release, forced",
        "rollback",
    ]


def test_the_listings_in_json_tell_what_is_released(
    scenes: Dataset, out: pytest.CaptureFixture[str]
) -> None:
    first = published(scenes)
    candidate = published(scenes, tag="candidate")
    for form in (["--json"], ["list", "--json"]):
        assert models(scenes.storage, *form) == 0
        (only,) = json.loads(out.readouterr().out)
        assert (f"animals@{only['version']}", only["released"]) == (first, True)
    assert models(scenes.storage, "list", "--all", "--json") == 0
    listed = json.loads(out.readouterr().out)
    assert [(f"animals@{each['version']}", each["released"], each["tag"]) for each in listed] == [
        (first, True, ""),
        (candidate, False, "candidate"),
    ]


def test_with_candidates_only_every_face_names_the_release(
    scenes: Dataset, out: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    candidates = [published(scenes, model, tag="candidate") for model in CLASSES]
    command = f"colorgan models release {' '.join(candidates)} --storage {storage.uri}"
    assert models(storage) == 0
    said = out.readouterr().out
    assert said.startswith(f"not released: {', '.join(candidates)}; ") and "no model" not in said
    for act in (
        lambda: find_cards(storage, ()),
        lambda: default_models(storage, CLASSES),
        lambda: assemble(RouterConfig(), storage),
    ):
        with pytest.raises(NotInStorage, match=re.escape(command)):
            act()
    assert models(storage, "release", *candidates) == 0
    assert list(find_cards(storage, ())) == list(CLASSES)
    assert default_models(storage, CLASSES) == ("assembled",)


def test_the_embedded_model_stays_in_use_until_a_release(
    scenes: Dataset, embedded: Storage
) -> None:
    storage = scenes.storage
    candidate = published(scenes, tag="candidate")
    both = with_embedded(storage)
    card = find(both, "animals")
    assert card.embedded
    note = embedded_note(both, [card], routed=False)
    assert note.endswith(f"models release {candidate} --storage {storage.uri} releases it")
    assert main(["models", "release", candidate, "--storage", storage.uri]) == 0
    assert find(both, "animals").reference == candidate


def test_the_command_that_releases_a_smoke_run_has_force(
    scenes: Dataset, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(stand_ins, tmp_path / "longer")
    (card,) = (tmp_path / "longer/models/animals").glob("*/model.json")
    card.write_text(card.read_text().replace('"epochs": 1', '"epochs": 2'))
    monkeypatch.setenv("COLORGAN_PRETRAINED", str(tmp_path / "longer"))
    storage = scenes.storage
    trained = replace(animals(metrics={"val_l1": 9.0}, run=""), epochs=1)
    smoke = publish(storage, "animals", scenes, trained).reference
    command = f"colorgan models release {smoke} --storage {storage.uri} --force releases"
    both = with_embedded(storage)
    assert command in embedded_note(both, [find(both, "animals")], routed=False)
    assert command in release_sentence(storage, smoke)
    with pytest.raises(NotInStorage, match=re.escape(command)):
        find(storage, "animals")


def test_a_deployment_says_what_it_replaces_and_what_is_pinned(scenes: Dataset) -> None:
    storage = scenes.storage
    first, people = published(scenes), published(scenes, "people")
    vehicles, worse = published(scenes, "vehicles"), published(scenes, val_l1=20.0)

    def deploy(*pins: str) -> list[str]:
        args = {"storage": storage.uri, "models": list(pins)}
        document = pin_models(
            {"applications": [{"name": "a", "import_path": "serve.app:build", "args": args}]}
        )
        (application,) = document["applications"]
        lines = list(_describe(application, "here"))
        record_deployment(storage, "a", "here", packages_of(application))
        return lines

    line = f"a: {first}, {people}, {vehicles}; router labels"
    assert deploy() == [line]
    assert deploy(worse) == [
        line.replace(first, worse),
        f"a: {worse} replaces {first}",
        f"note: {worse} is pinned, and {first} is released",
    ]
    assert deploy() == [line, f"a: {first} replaces {worse}"]


def test_a_run_that_does_not_publish_publishes_what_others_start_from(scenes: Dataset) -> None:
    request = RunRequest(
        run="r",
        models=["animals"],
        preset=find_preset("best"),
        overrides={"size": 64, "width": 4},
        trains_bases=True,
        router="head",
        publishing=Publishing(publishes=False),
    )
    plan = plan_run(scenes.storage, scenes, request)
    specs = {each: plan.model_run(each, "s", SpeedConfig(), 1) for each in plan.configs}
    assert {name: (spec.publishes, spec.tag) for name, spec in specs.items()} == {
        "general": (True, "base"),
        "animals": (False, "base"),
    }
    assert not plan.head


TRAIN = ("train", "--dataset", "scenes", "--model", "animals", *SMALL, "--photographs", "8")


def test_a_training_publishes_when_it_is_told_to_and_says_what_is_released(
    scenes: Dataset, out: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    train = [*TRAIN, "--storage", storage.uri]
    assert main([*train, "--run", "r", "--epochs", "2", "--no-publish"]) == 0
    said = out.readouterr().out
    assert "the same command with --run r and without --no-publish publishes them" in said
    assert "animals: validation L1" in said and not storage.folders("models")

    assert main([*train, "--run", "r", "--epochs", "2"]) == 0
    said = out.readouterr().out
    first = find(storage, "animals")
    assert f"{first.reference} is released: it is the first release of animals\n" in said
    assert "epoch 1" not in said, "nothing is trained twice"

    assert main([*train, "--run", "s", "--epochs", "2", "--tag", "candidate"]) == 0
    said = out.readouterr().out
    assert re.search(r"animals@\S+ is not released: tagged candidate", said)
    # A smoke run, as on the evening after which it was served.
    assert main([*train, "--run", "t", "--epochs", "1"]) == 0
    said = out.readouterr().out
    smoke = f"animals@{whole_versions(storage, 'animals')[-1]}"
    why = f"it was trained for 1 epoch, and {first.reference} for 2"
    assert f"{smoke} is not released: {why}; colorgan models release {smoke}" in said
    assert find(storage, "animals") == first
    assert len(whole_versions(storage, "animals")) == 3

    assert main([*train, "--no-publish", "--tag", "x"]) == 2
    assert "drop one of them" in out.readouterr().err
