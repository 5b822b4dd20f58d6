import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from colorgan.cli import main
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.errors import ColorganError, Corrupt, NotInStorage, StorageUnavailable
from colorgan.models.unet import UNetGenerator
from colorgan.packages.card import ModelCard, find, list_models, version_order
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import open_storage
from colorgan.storage.local import LocalStorage
from colorgan.training.config import TrainingConfig, stored_objective
from tests.races import race

CONFIG = TrainingConfig(size=32, width=2, epochs=2)
WEIGHTS = "generator.safetensors"
OBJECTIVE = "L1 (weight 100), adversary on patches (weight 1); adversarial 100 %"


def publish_animals(dataset: Dataset, seed: int = 0) -> tuple[ModelCard, UNetGenerator]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the same colours in whatever order the tests run
        generator = UNetGenerator(CONFIG.architecture("animals")).eval()
    trained = Trained(
        generator,
        classes=("animals",),
        training=asdict(CONFIG),
        metrics={"val_l1": 9.0, "val_psnr": 22.0},
        seconds=3.0,
        device="cpu",
        epochs=2,
        objective=OBJECTIVE,
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


def test_the_card_says_what_the_network_learned_by_also_of_a_package_of_before(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    card, _ = publish_animals(scenes)
    assert card.objective == OBJECTIVE
    key = f"models/animals/{card.version}/model.json"
    document = json.loads(scenes.storage.get(key))
    assert document.pop("objective") == OBJECTIVE
    document["training"]["liven"] = 0.5  # an option that is gone
    scenes.storage.put(key, json.dumps(document).encode())
    assert stored_objective(find(scenes.storage, "animals")) == OBJECTIVE
    assert main(["models", "--storage", scenes.storage.uri]) == 0
    assert OBJECTIVE in capsys.readouterr().out


def test_a_second_version_becomes_the_latest_and_the_first_stays(scenes: Dataset) -> None:
    first, _ = publish_animals(scenes)
    second, _ = publish_animals(scenes, seed=1)
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


class Failing(LocalStorage):
    """A storage whose network fails right after a write, of which it has no word then."""

    def __init__(self, uri: str, writes: int) -> None:
        super().__init__(Path(uri))
        self.writes = writes

    def _count(self) -> None:
        self.writes -= 1
        if self.writes == 0:
            raise StorageUnavailable("no answer")

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        self._count()

    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        self._count()
        return created


def animals(**changes: Any) -> Trained:
    trained = Trained(
        UNetGenerator(CONFIG.architecture("animals")).eval(),
        classes=("animals",),
        training=asdict(CONFIG),
        metrics={"val_l1": 9.0, "val_psnr": 22.0},
        seconds=3.0,
        device="cpu",
        epochs=2,
        run="r",
        extra={"history.csv": b"epoch\n1\n2\n"},
    )
    return replace(trained, **changes)


@pytest.mark.parametrize("folder", ["runs/r/animals", ""])
def test_publishing_again_after_a_fault_leaves_one_package(scenes: Dataset, folder: str) -> None:
    trained = animals(folder=folder)
    storage = scenes.storage
    for writes in range(
        1, 7
    ):  # the version, the weights, the history, the card, the release, latest
        with pytest.raises(StorageUnavailable):
            publish(Failing(storage.uri, writes), "animals", scenes, trained)
        card = publish(storage, "animals", scenes, trained)
        assert storage.folders("models/animals") == [card.version]
        assert find(storage, "animals") == card == publish(storage, "animals", scenes, trained)
        load_generator(storage, card)
        storage.delete("models")
        storage.delete("runs")
    assert publish(Failing(storage.uri, 7), "animals", scenes, trained), "there is no seventh write"


def test_a_process_that_does_a_runs_training_again_finds_its_package(scenes: Dataset) -> None:
    """As after a restart whose weights came out a little different, on another device."""
    first, second = (
        publish(scenes.storage, "animals", scenes, animals(folder="runs/r/animals"))
        for _ in range(2)
    )
    assert first == second
    load_generator(scenes.storage, second)
    other = publish(scenes.storage, "animals", scenes, animals(run="s", folder="runs/s/animals"))
    assert len(scenes.storage.folders("models/animals")) == 2
    assert find(scenes.storage, "animals") == other


def publish_with_others(number: int, root: str, run: str) -> str:
    torch.set_num_threads(1)
    dataset = open_dataset(open_storage(root), "scenes")
    folder = f"runs/{run}-{number}/animals"
    trained = animals(run=f"{run}-{number}", folder=folder)
    return publish(dataset.storage, "animals", dataset, trained).version


@pytest.mark.parametrize(("runs", "versions"), [(("r", "r"), 1), (("r", "s"), 2)])
def test_processes_that_publish_at_the_same_moment(
    scenes: Dataset, runs: tuple[str, str], versions: int
) -> None:
    storage, rounds = scenes.storage, 12
    published = race(publish_with_others, [(storage.uri, run) for run in runs], rounds)
    assert [len(set(each)) for each in published] == [versions] * rounds
    everything = {version for each in published for version in each}
    assert set(storage.folders("models/animals")) == everything
    assert find(storage, "animals").version == max(everything, key=version_order)
    for version in everything:
        load_generator(storage, find(storage, f"animals@{version}"))


def test_a_package_that_is_finished_late_does_not_become_the_latest(scenes: Dataset) -> None:
    late = animals(folder="runs/r/animals")
    with pytest.raises(StorageUnavailable):
        publish(Failing(scenes.storage.uri, 4), "animals", scenes, late)
    newer = publish(scenes.storage, "animals", scenes, animals(run="s"))
    finished = publish(scenes.storage, "animals", scenes, late)
    assert version_order(finished.version) < version_order(newer.version)
    assert find(scenes.storage, "animals") == newer
    assert find(scenes.storage, finished.reference) == finished


@pytest.mark.parametrize("version", ["20991231-235959", "20991231-235959-2"])
def test_what_is_published_next_is_the_latest_whatever_the_clock_of_others(
    scenes: Dataset, version: str
) -> None:
    storage = scenes.storage
    ahead = publish(storage, "animals", scenes, animals())
    for key in storage.list(f"models/animals/{ahead.version}"):
        storage.put(key.replace(ahead.version, version), storage.get(key))
    storage.put("models/animals/latest.json", json.dumps({"version": version}).encode())
    card = publish(storage, "animals", scenes, animals(run="s"))
    assert version_order(version) < version_order(card.version)
    assert find(storage, "animals") == card


def test_versions_are_in_the_order_in_which_they_were_published() -> None:
    versions = [
        "20251231-235959",
        "20260101-000000",
        "20260101-000000-2",
        "20260101-000000-3",
        "20260101-000000-10",
        "20260101-000000-000123-fedcba",
        "20260101-000000-123456-012345",
        "20260101-000001",
        "20260102-000000-000000-abcdef",
    ]
    assert sorted(set(versions), key=version_order) == versions
    assert sorted(versions) != versions


def test_the_versions_that_there_are_are_named_in_order(scenes: Dataset) -> None:
    for number in (2, 10):
        scenes.storage.put(f"models/animals/20260101-000000-{number}/model.json", b"{}")
    with pytest.raises(NotInStorage, match="-2, 20260101-000000-10"):
        find(scenes.storage, "animals@none")


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
