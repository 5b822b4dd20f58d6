"""Models on a Hub of the test's own: pushed and pulled by processes, and loaded by address."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from colorgan.data.dataset import Dataset
from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.inference.colorizer import Colorizer
from colorgan.models.architectures import Architecture, DetectorConfig, HeadConfig, SegmenterConfig
from colorgan.packages.card import find
from colorgan.packages.hub import describe
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import Storage, open_storage
from colorgan.storage.hub import HubAddress
from colorgan.training.config import TrainingConfig
from colorgan.training.networks import create_generator
from tests.conftest import CHECKOUT
from tests.hub_server import Hub, hub_server
from tests.inference.test_router_choice import put_card

SMALL = TrainingConfig(size=32, width=4, epochs=1)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as running:
        yield running


@pytest.fixture
def published(scenes: Dataset) -> Dataset:
    """A storage with a model of animals and a general one."""
    for seed, model in enumerate(("animals", "general")):
        torch.manual_seed(seed)
        metrics = {"val_l1": 9.25, "val_psnr": 20.5}
        extra = {"history.csv": b"epoch\n1\n", "samples.png": b"a picture"}
        network = create_generator(SMALL, model).eval()
        classes = scenes.model_classes(model)
        trained = Trained(network, classes, asdict(SMALL), metrics, 1.0, "cpu", 1, extra=extra)
        publish(scenes.storage, model, scenes, trained)
    return scenes


def python(hub: Hub, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub.variables(cache), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cache, capture_output=True, text=True
    )


def models(hub: Hub, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(hub, cache, "-m", "colorgan", "models", *arguments)


def test_pushed_models_are_pulled_with_their_checksums_and_load_by_address(
    published: Dataset, hub: Hub, tmp_path: Path
) -> None:
    ours = published.storage
    address = "hf://you/old-photos"
    options = ("--storage", ours.uri, "--license", "mit", "--private")
    done = models(hub, tmp_path, "push", address, "animals", *options)
    assert done.returncode == 0, done.stderr
    commit = [*hub.repositories["you/old-photos"]][-1]
    assert done.stdout == f"pushed: {address}@{commit}\n"
    assert hub.private == {"you/old-photos"}
    card = find(ours, "animals")
    folder = f"models/animals/{card.version}"
    held = hub.head("you/old-photos")
    names = {*(f"{folder}/{name}" for name in (*card.files, "model.json"))}
    assert names | {"models/animals/latest.json", "README.md", ".gitattributes"} == {*held}
    weights = f"{folder}/generator.safetensors"
    assert held[weights] == ours.get(weights)

    _, metadata, text = held["README.md"].decode().split("---\n", 2)
    facts = yaml.safe_load(metadata)
    assert (facts["license"], facts["library_name"]) == ("mit", "colorgan")
    assert facts["pipeline_tag"] == "image-to-image"
    results = facts["model-index"][0]["results"][0]
    assert results["dataset"]["type"] == "scenes"
    assert [each["value"] for each in results["metrics"]] == [9.25, 20.5]
    assert f"`{card.reference}`" in text
    assert f'colorgan.load("{address}")' in text

    other = open_storage(str(tmp_path / "other"))
    pulled = models(hub, tmp_path, "pull", f"{address}@{commit}", "--storage", other.uri)
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith(f"{card.reference} is released")
    assert find(other, "animals") == card
    assert other.get(weights) == ours.get(weights)

    code = (
        "import sys, colorgan, numpy as np; "
        f"model = colorgan.load({address!r}, device='cpu'); "
        "np.save('out.npy', model(np.load('scene.npy'))); print(model.packages)"
    )
    scene = draw_scene("animals", 1, 40, 56)
    np.save(tmp_path / "scene.npy", scene)
    loaded = python(hub, tmp_path, "-c", code)
    assert loaded.returncode == 0, loaded.stderr
    assert card.reference in loaded.stdout
    expected = Colorizer(load_generator(ours, card))([scene])[0]
    assert np.abs(np.load(tmp_path / "out.npy").astype(int) - expected).max() <= 1


def test_a_revision_is_pinned_and_the_card_lists_what_was_pushed_before(
    published: Dataset, hub: Hub, tmp_path: Path
) -> None:
    address, uri = "hf://you/both", ("--storage", published.storage.uri)
    first = models(hub, tmp_path, "push", address, "animals", *uri).stdout.split()[-1]
    assert models(hub, tmp_path, "push", address, "general", *uri).returncode == 0
    readme = hub.head("you/both")["README.md"].decode()
    for model in ("animals", "general"):
        assert f"`{find(published.storage, model).reference}`" in readme
    listed = models(hub, tmp_path, "--json", "--storage", first)
    assert listed.returncode == 0, listed.stderr
    assert [each["model"] for each in json.loads(listed.stdout)] == ["animals"]
    everything = models(hub, tmp_path, "pull", address, "--storage", str(tmp_path / "other"))
    assert len(everything.stdout.splitlines()) == 2, everything.stderr
    assert open_storage(str(tmp_path / "other")).folders("models") == ["animals", "general"]


def test_damaged_and_foreign_files_are_refused_and_pickles_not_even_fetched(
    published: Dataset, hub: Hub, tmp_path: Path
) -> None:
    address, uri = "hf://you/bad", ("--storage", published.storage.uri)
    assert models(hub, tmp_path, "push", address, "animals", *uri).returncode == 0
    version = find(published.storage, "animals").version
    folder, good = f"models/animals/{version}", hub.head("you/bad")
    weights = f"{folder}/generator.safetensors"
    other = open_storage(str(tmp_path / "other"))
    hub.commit("you/bad", {**good, weights: bytes(len(good[weights]))})
    damaged = models(hub, tmp_path, "pull", address, "--storage", other.uri)
    assert damaged.returncode == 1
    assert f"{weights} in {address} does not match its checksum" in damaged.stderr

    card = json.loads(good[f"{folder}/model.json"])
    card["files"]["weights.pt"] = {"bytes": 3, "sha256": "0" * 64}
    evil = {f"{folder}/model.json": json.dumps(card).encode(), f"{folder}/weights.pt": b"evil"}
    hub.commit("you/bad", {**good, **evil, "setup.py": b"evil"})
    hub.fetched.clear()
    refused = models(hub, tmp_path, "pull", address, "--storage", other.uri)
    assert refused.returncode == 1
    assert "has a file 'weights.pt', which no package of colorgan has" in refused.stderr
    assert hub.fetched and not [p for p in hub.fetched if p.endswith((".pt", ".py"))]
    assert other.list() == []


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("pull", "hf://you/none"), 1, "there is no hf://you/none, or not for you: hf auth login"),
        (("pull", "hf://you/empty@v9"), 1, "hf://you/empty has no revision 'v9'"),
        (("pull", "hf://you/empty"), 1, "hf://you/empty has no models of colorgan"),
        (("push", "hf://you/new"), 1, "no model in"),
        (("push", "hf://you/new", "cats"), 1, "no model 'cats'"),
        (("rollback", "a", "--storage", "hf://you/empty"), 1, "a in hf://you/empty has no earlier"),
        (("pull", "hf://you"), 2, "'hf://you' is not a repository of the Hub"),
    ],
)
def test_what_the_hub_has_not_is_said_in_a_sentence(
    arguments: tuple[str, ...], status: int, sentence: str, hub: Hub, tmp_path: Path
) -> None:
    hub.commit("you/empty", {"README.md": b"nothing"})
    done = models(hub, tmp_path, *arguments)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_addresses_are_read_with_their_revision() -> None:
    assert HubAddress.parse("hf://you/a.b-c_d@v1/x") == HubAddress("you/a.b-c_d", "v1/x")
    assert str(HubAddress("you/a", "v1")) == "hf://you/a@v1"
    for wrong in ("hf://you", "hf://you/a/b", "hf://you/a@", "hf://you/../a", "you/a"):
        with pytest.raises(ConfigError):
            HubAddress.parse(wrong)


@pytest.mark.parametrize(
    ("kind", "metrics", "task", "shown", "types"),
    [
        (
            "segmenter",
            {"val_pixel_accuracy": 0.8125, "val_mean_iou": 0.5625, "val_majority": 0.25},
            "image-segmentation",
            "pixel accuracy 0.81, mean IoU 0.56",
            {"accuracy": 0.8125, "mean_iou": 0.5625},
        ),
        (
            "router",
            {"val_accuracy": 0.9375},
            "image-classification",
            "accuracy 0.94",
            {"accuracy": 0.9375},
        ),
        (
            "detector",
            {"val_precision": 0.625},
            "object-detection",
            "average precision 0.62",
            {"mean_average_precision": 0.625},
        ),
    ],
)
def test_the_metrics_of_packages_that_do_not_colour_are_shown(
    storage: Storage,
    kind: str,
    metrics: dict[str, float],
    task: str,
    shown: str,
    types: dict[str, float],
) -> None:
    put_card(storage, "router", 1, ("animals", "people"))
    made: Architecture = HeadConfig("stub", "0" * 64, 4, ("animals", "people"), 1.0)
    if kind == "segmenter":
        made = SegmenterConfig(64, 8, "efficientnet_lite0", ("sky", "grass"))
    elif kind == "detector":
        made = DetectorConfig(64, 32, "efficientnet_lite0", ("dog", "car"))
    card = replace(find(storage, "router"), kind=kind, architecture=made, metrics=metrics)
    _, metadata, text = describe(HubAddress("you/a"), [card]).split("---\n", 2)
    (result,) = yaml.safe_load(metadata)["model-index"][0]["results"]
    assert result["task"]["type"] == task
    assert {each["type"]: each["value"] for each in result["metrics"]} == types
    assert f"| {shown} |" in text
