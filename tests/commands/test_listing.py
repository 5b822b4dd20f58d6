"""One damaged document in storage does not hide the others, and is named."""

import json
import re
from collections.abc import Callable

import pytest

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import Corrupt
from colorgan.packages.card import ModelCard, find, list_models
from colorgan.storage import Storage
from tests.packages.test_packages import publish_animals

POINTER = "models/bad/latest.json"


def run(storage: Storage, *arguments: str) -> int:
    command, *rest = arguments
    return main([command, "--storage", storage.uri, *rest])


@pytest.fixture
def two(scenes: Dataset) -> tuple[Storage, ModelCard]:
    """A storage with the model animals, and a copy of it called bad."""
    card, _ = publish_animals(scenes)
    storage = scenes.storage
    for key in storage.list("models/animals"):
        data = storage.get(key)
        if key.endswith("/model.json"):
            data = json.dumps({**json.loads(data), "model": "bad"}).encode()
        storage.put(key.replace("animals", "bad", 1), data)
    assert [each.model for each in list_models(storage)] == ["animals", "bad"]
    return storage, card


def pointer(content: bytes) -> Callable[[Storage, str], None]:
    return lambda storage, version: storage.put(POINTER, content)


def card(**fields: object) -> Callable[[Storage, str], None]:
    def damage(storage: Storage, version: str) -> None:
        key = f"models/bad/{version}/model.json"
        storage.put(key, json.dumps({**json.loads(storage.get(key)), **fields}).encode())

    return damage


def without_pointer(storage: Storage, version: str) -> None:
    storage.delete(POINTER)


def without_card(storage: Storage, version: str) -> None:
    storage.delete(f"models/bad/{version}/model.json")


DAMAGES = [
    (pointer(b""), "models/bad/latest.json does not point to a version: there are 20.*; bad@20"),
    (pointer(b"\xff\xfe"), "latest.json does not point to a version"),
    (pointer(b"[]"), "latest.json does not point to a version"),
    (pointer(b'{"version": null}'), "latest.json does not point to a version"),
    (pointer(b'{"version": "../x"}'), "latest.json does not point to a version"),
    (pointer(b'{"version": "1999"}'), "no version '1999' of model 'bad': there are 20"),
    (without_pointer, "models/bad/latest.json is missing; there are 20.*; bad@20.* names one"),
    (without_card, "no version '20.*' of model 'bad'"),
    (card(schema_version=99), "model.json has schema version 99"),
    (card(kind="foo"), "model.json cannot be read"),
    (card(files=None), "model.json cannot be read"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_one_bad_model_does_not_hide_the_others(
    two: tuple[Storage, ModelCard],
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Storage, str], None],
    words: str,
    form: tuple[str, ...],
) -> None:
    storage, good = two
    damage(storage, good.version)
    assert run(storage, "models", *form) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert re.search(words, line)
    if form:
        assert [each["model"] for each in json.loads(captured.out)] == ["animals"]
    else:
        assert [each.split()[0] for each in captured.out.splitlines()] == ["model", good.reference]


def test_a_card_whose_fields_are_of_other_types_is_named_in_the_table(
    two: tuple[Storage, ModelCard], capsys: pytest.CaptureFixture[str]
) -> None:
    storage, good = two
    for fields in ({"metrics": {}}, {"metrics": {"val_l1": "low"}}, {"dataset": None}):
        card(**fields)(storage, good.version)
        assert run(storage, "models") == 1
        captured = capsys.readouterr()
        assert good.reference in captured.out
        assert f"error: models/bad/{good.version}/model.json cannot be read" in captured.err


def test_a_model_whose_pointer_is_damaged_is_found_by_its_version(
    two: tuple[Storage, ModelCard],
) -> None:
    storage, good = two
    storage.put(POINTER, b"")
    with pytest.raises(Corrupt, match=f"bad@{good.version} names one"):
        find(storage, "bad")
    assert find(storage, f"bad@{good.version}").version == good.version


def test_a_package_that_is_being_written_is_no_fault(
    two: tuple[Storage, ModelCard], capsys: pytest.CaptureFixture[str]
) -> None:
    storage, _ = two
    storage.put("models/cats/20260101-000000/generator.safetensors", b"first")
    assert run(storage, "models") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"schema_version": 99}', None])
def test_one_bad_manifest_does_not_hide_the_other_datasets(
    scenes: Dataset, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    storage, key = scenes.storage, "datasets/bad/manifest.json"
    fields = json.loads(scenes.manifest.to_json())
    storage.put(key, json.dumps({**fields, "counts": []}).encode() if content is None else content)
    assert run(storage, "datasets") == 1
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()] == ["dataset", "scenes"]
    (line,) = captured.err.splitlines()
    # Of a copy the name inside is another's.
    assert line.startswith(f"error: {key if content is not None else 'datasets/scenes/'}")
    if content is not None:
        assert run(storage, "datasets", "verify") == 1
        printed = capsys.readouterr().out
        assert f"{key} " in printed and "scenes: 72 photographs" in printed
    assert run(storage, "train", "--dataset", "none", "--model", "animals") == 1
    assert "no dataset 'none' in" in capsys.readouterr().err


def test_one_bad_survey_does_not_hide_the_others(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {"photo": "1", "photo_class": "cats", "models": ["general", "assembled"]}
    survey = {
        "name": "good",
        "created": "2026-01-02",
        "report": "r",
        "seed": 0,
        "secret": "00",
        "models": ["general", "assembled"],
        "questions": [question],
        "schema_version": 1,
    }
    storage.put("surveys/good/survey.json", json.dumps(survey).encode())
    storage.put("surveys/bad/survey.json", b"{")
    for form in ((), ("--json",)):
        assert run(storage, "survey", "list", *form) == 1
        captured = capsys.readouterr()
        assert "good" in captured.out
        assert captured.err.startswith("error: surveys/bad/survey.json cannot be read")
