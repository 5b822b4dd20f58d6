"""Colouring by objects over HTTP: `model=objects`, and the objects that /classify tells."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from colorgan.errors import ConfigError
from colorgan.images.lab import lightness
from colorgan.inference.object_choice import ObjectConfig, assemble_objects
from colorgan.models import EMBEDDED
from colorgan.models.architectures import DetectorConfig
from colorgan.packages.card import find
from colorgan.storage import Storage, open_storage
from serve.backend import LocalBackend, find_parts
from serve.config import Choice, ReplicaSettings, ServeConfig
from tests.images.test_borders import framed
from tests.serve.conftest import publish_untrained, served
from tests.serve.exchange import encoded, opened, problem

SAMPLES = Path(__file__).parents[2] / "serve" / "page" / "samples"
CAT = (SAMPLES / "chelsea.jpg").read_bytes()
CUP = (SAMPLES / "coffee.jpg").read_bytes()


def objects_of(answer: httpx.Response) -> list[dict]:
    return json.loads(answer.headers["x-colorgan-objects"])


def test_each_object_is_coloured_by_the_model_of_its_class(
    client: httpx.Client, models: Storage
) -> None:
    answer = client.post("/colorize", params={"model": "objects"}, content=CAT)
    with opened(answer) as image:
        colored = np.asarray(image)
    with Image.open(io.BytesIO(CAT)) as image:
        size, own = image.size, np.asarray(image.convert("RGB"))
    (found,) = objects_of(answer)
    assert found.keys() == {"class", "label", "score", "box"}
    assert found["class"] == "animals" and 0.5 < found["score"] <= 1
    left, top, right, bottom = found["box"]
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    references = [find(models, name).reference for name in ("general", "animals")]
    assert answer.headers["x-colorgan-model"].split(",") == references
    assert "x-colorgan-class" not in answer.headers
    assert np.abs(lightness(colored) - lightness(own)).max() < 0.02
    for name in ("general", "animals"):
        with opened(client.post("/colorize", params={"model": name}, content=CAT)) as alone:
            assert (np.asarray(alone) != colored).any()


def test_the_service_colours_as_the_library_with_the_same_options(models: Storage) -> None:
    own = ObjectConfig(object_edges="cosine", object_masks="box", object_score=0.6)
    library = assemble_objects(own, models).load(models)
    with Image.open(io.BytesIO(CAT)) as image:
        (expected,) = library([np.asarray(image.convert("RGB"))])
    with served(LocalBackend(ServeConfig(storage=models.uri, objects=own))) as client:
        answer = client.post("/colorize", params={"model": "objects"}, content=CAT)
    with opened(answer) as image:
        np.testing.assert_allclose(np.asarray(image).astype(int), expected.rgb, atol=1)
    assert len(objects_of(answer)) == len(expected.objects) == 1


def test_a_photograph_without_objects_is_coloured_by_general_alone(client: httpx.Client) -> None:
    answer = client.post("/colorize", params={"model": "objects"}, content=CUP)
    assert objects_of(answer) == []
    general = client.post("/colorize", params={"model": "general"}, content=CUP)
    assert answer.content == general.content
    assert answer.headers["x-colorgan-model"] == general.headers["x-colorgan-model"]
    assert "x-colorgan-objects" not in general.headers


def test_the_boxes_of_a_print_are_within_its_border(client: httpx.Client) -> None:
    with Image.open(io.BytesIO(CAT)) as image:
        rgb = np.asarray(image.convert("RGB").resize((320, 213)))
    printed = encoded(Image.fromarray(framed(rgb, (20, 22, 24, 26), np.uint8([250, 225, 180]))))
    params = {"model": "objects", "restore": "colors"}
    (found,) = objects_of(client.post("/colorize", params=params, content=printed))
    with Image.open(io.BytesIO(printed)) as image:
        width, height = image.size
    left, top, right, bottom = found["box"]
    assert min(left, top, width - right, height - bottom) >= 15


def test_classify_tells_the_objects_if_they_are_asked_for(client: httpx.Client) -> None:
    plain = client.post("/classify", content=CAT).json()
    answer = client.post("/classify", params={"objects": "true"}, content=CAT).json()
    colored = client.post("/colorize", params={"model": "objects"}, content=CAT)
    assert answer.pop("objects") == objects_of(colored)
    assert answer == plain


def test_the_models_name_the_detector_and_its_classes(client: httpx.Client) -> None:
    detector = client.get("/models").json()["detector"]
    assert detector == {"name": "labels", "classes": ["animals", "people", "vehicles"]}


def test_a_service_without_a_detector_refuses_objects(models: Storage) -> None:
    with served(LocalBackend(ServeConfig(storage=models.uri, objects=None))) as client:
        assert client.get("/models").json()["detector"] is None
        problem(
            client.post("/colorize", params={"model": "objects"}, content=CAT),
            422,
            "model: 'objects' is none of assembled, animals",
        )
        problem(
            client.post("/classify", params={"objects": "true"}, content=CAT),
            422,
            "objects: no detector of objects is served here",
        )


def test_a_class_does_not_go_with_objects(client: httpx.Client) -> None:
    params = {"model": "objects", "class": "people"}
    problem(client.post("/colorize", params=params, content=CAT), 422, "class: 'people' chooses")


def test_what_is_served_has_the_detector_with_its_version() -> None:
    choice = Choice(
        packages=("general@1",),
        objects=ObjectConfig(detector="detector@2", object_score=0.0, object_masks="segmenter@3"),
    )
    assert choice.references == ["general@1", "detector@2", "segmenter@3"]
    assert ReplicaSettings(**choice.settings()).choice == choice


def test_without_a_general_model_objects_are_left_out_or_the_reason_is_said(
    staged_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORGAN_PRETRAINED", str(tmp_path / "none"))
    shutil.copytree(staged_scenes, tmp_path / "storage")
    storage = open_storage(str(tmp_path / "storage"))
    for model in ("animals", "people", "vehicles"):
        publish_untrained(storage, model)
    config = ServeConfig(storage=storage.uri)
    assert find_parts(config).objects is None
    asked = config.model_copy(update={"objects": ObjectConfig(detector="labels")})
    with pytest.raises(ConfigError, match="needs the general model and one of animals, people"):
        find_parts(asked)


def test_a_detector_of_other_things_is_left_out_unless_it_is_asked_for(
    models: Storage, tmp_path: Path
) -> None:
    shutil.copytree(Path(models.uri), tmp_path / "storage")
    storage = open_storage(str(tmp_path / "storage"))
    card = find(storage, "animals")
    for version, thing in (("1", "dog"), ("2", "teapot")):
        made = DetectorConfig(64, 32, EMBEDDED, (thing,))
        other = replace(card, model="detector", kind="detector", version=version, architecture=made)
        other = replace(other, classes=(thing,))
        storage.put(f"models/detector/{version}/model.json", other.to_json())
        storage.put("models/detector/latest.json", json.dumps({"version": version}).encode())
        chosen = find_parts(ServeConfig(storage=storage.uri)).objects
        assert (chosen and chosen.detector) == ("detector@1" if thing == "dog" else None)
    asked = ServeConfig(storage=storage.uri, objects=ObjectConfig(detector="trained"))
    chosen = find_parts(asked).objects
    assert chosen and chosen.detector == "detector@2"
