import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from colorgan.cards import ModelCard, find, list_models
from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError, Corrupt, NotInStorage
from colorgan.hyperparameters import TrainingConfig
from colorgan.models.unet import UNetGenerator
from colorgan.packages import Trained, load_generator, publish

CONFIG = TrainingConfig(size=32, width=2, epochs=2)
WEIGHTS = "generator.safetensors"


def publish_animals(dataset: Dataset) -> tuple[ModelCard, UNetGenerator]:
    generator = UNetGenerator(CONFIG.architecture("animals")).eval()
    trained = Trained(
        generator,
        classes=("animals",),
        training=asdict(CONFIG),
        metrics={"val_l1": 9.0, "val_psnr": 22.0},
        seconds=3.0,
        device="cpu",
        epochs=2,
        run="r",
    )
    return publish(dataset.storage, "animals", dataset, trained), generator


def test_a_published_generator_comes_back_the_same(scenes: Dataset) -> None:
    card, generator = publish_animals(scenes)
    found = find(scenes.storage, "animals")
    assert found == card == find(scenes.storage, card.reference)
    loaded = load_generator(scenes.storage, found)
    lightness = torch.linspace(-1, 1, 32 * 32).reshape(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(lightness), generator(lightness))


def test_the_card_says_what_the_model_was_trained_on(scenes: Dataset) -> None:
    card, _ = publish_animals(scenes)
    assert card.dataset == {"name": "scenes", "fingerprint": scenes.manifest.fingerprint}
    assert card.photographs == scenes.manifest.counts["animals"]["train"]
    assert (card.epochs, card.seconds, card.metrics["val_l1"]) == (2, 3.0, 9.0)
    assert card.training["learning_rate"] == CONFIG.learning_rate
    assert card.versions["torch"] == torch.__version__


def test_a_second_version_becomes_the_latest_and_the_first_stays(scenes: Dataset) -> None:
    first, _ = publish_animals(scenes)
    second, _ = publish_animals(scenes)
    assert first.version < second.version
    assert find(scenes.storage, "animals") == second
    assert find(scenes.storage, first.reference) == first
    assert [card.reference for card in list_models(scenes.storage)] == [second.reference]


def test_a_package_without_latest_is_not_visible(scenes: Dataset) -> None:
    publish_animals(scenes)
    scenes.storage.delete("models/animals/latest.json")
    assert list_models(scenes.storage) == []
    with pytest.raises(NotInStorage, match="no model 'animals'"):
        find(scenes.storage, "animals")


def damage(dataset: Dataset, card: ModelCard, change: str) -> None:
    path = Path(dataset.storage.location(f"models/animals/{card.version}/{WEIGHTS}"))
    data = path.read_bytes()
    path.write_bytes(data[:-10] if change == "cut short" else data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("change", "message"), [("cut short", "bytes instead of"), ("one bit", "checksum")]
)
def test_damaged_weights_are_refused(scenes: Dataset, change: str, message: str) -> None:
    card, _ = publish_animals(scenes)
    damage(scenes, card, change)
    with pytest.raises(Corrupt, match=message):
        load_generator(scenes.storage, card)


def test_weights_of_another_architecture_are_refused(scenes: Dataset) -> None:
    card, _ = publish_animals(scenes)
    key = f"models/animals/{card.version}/model.json"
    described = json.loads(scenes.storage.get(key))
    described["architecture"]["width"] = 4
    scenes.storage.put(key, json.dumps(described).encode())
    with pytest.raises(Corrupt, match="does not fit the architecture"):
        load_generator(scenes.storage, find(scenes.storage, "animals"))


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("models/animals/{version}/model.json", b"{"),
        ("models/animals/{version}/model.json", b'{"schema_version": 1}'),
        ("models/animals/{version}/model.json", b'{"schema_version": 99}'),
        ("models/animals/latest.json", b"[]"),
    ],
)
def test_a_description_that_cannot_be_read_is_named(
    scenes: Dataset, key: str, content: bytes
) -> None:
    card, _ = publish_animals(scenes)
    key = key.format(version=card.version)
    scenes.storage.put(key, content)
    with pytest.raises(ColorganError, match=key):
        find(scenes.storage, "animals")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("dogs", "no model 'dogs' .*: there are animals"),
        ("animals@1999", "no version '1999' of model 'animals': there are"),
        ("../animals", "is not a name"),
    ],
)
def test_an_unknown_model_is_answered_with_what_there_is(
    scenes: Dataset, reference: str, message: str
) -> None:
    publish_animals(scenes)
    with pytest.raises(ColorganError, match=message):
        find(scenes.storage, reference)
