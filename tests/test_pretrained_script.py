"""scripts/pretrained.py: packages that come with colorgan, from those of a storage."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from colorgan.cli import main as colorgan
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.errors import ColorganError, NotInStorage
from colorgan.evaluation.results import Contestant, Evaluation
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import open_storage
from colorgan.training.networks import create_generator
from scripts import pretrained
from scripts.pretrained import embed, main
from tests.conftest import CHECKOUT, STAND_IN, Jobs, stage_scenes


def publish_stand_in(dataset: Dataset, model: str, seed: int = 0) -> ModelCard:
    torch.manual_seed(seed)
    trained = Trained(
        create_generator(STAND_IN, model).eval(),
        classes=dataset.model_classes(model),
        training=dataclasses.asdict(STAND_IN),
        metrics={"val_l1": 9.125, "val_psnr": 20.0},
        seconds=75.0,
        device="cpu",
        epochs=1,
        run="pretrained",
        extra={"history.csv": b"epoch\n1\n", "samples.png": b"photographs"},
    )
    return publish(dataset.storage, model, dataset, trained)


def test_a_package_is_copied_without_its_pictures_under_a_version_that_tells(
    scenes: Dataset, tmp_path: Path
) -> None:
    card = publish_stand_in(scenes, "animals")
    made = embed(scenes.storage, "animals", tmp_path / "into")
    assert made.version == f"embedded-{card.version[:15]}" and made.embedded
    assert made.encoder == card.encoder and made.run == ""
    assert (made.training, made.metrics, made.objective) == (
        card.training,
        card.metrics,
        card.objective,
    )
    target = open_storage(str(tmp_path / "into"))
    names = [key.rpartition("/")[2] for key in target.list(f"models/animals/{made.version}")]
    assert names == ["README.md", "encoder_unet.safetensors", "history.csv", "model.json"]
    assert find(target, "animals") == made
    theirs, ours = (
        load_generator(storage, each).state_dict()
        for storage, each in ((scenes.storage, card), (target, made))
    )
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
    text = target.get(f"models/animals/{made.version}/README.md")
    assert made.files["README.md"].sha256 == hashlib.sha256(text).hexdigest()
    said = text.decode()
    count = scenes.count(["animals"], "train")
    assert f"| {scenes.manifest.source} | not stated | {count} |" in said
    assert "val_l1 9.125" in said and made.objective in said
    assert card.encoder is not None and card.encoder.sha256 in said
    assert "1 min 15 s on cpu" in said
    assert "## Limits" in said and "## Known biases" in said


def test_a_whole_package_is_made_slim(
    scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("colorgan.packages.weights.named_encoder", lambda network: None)
        card = publish_stand_in(scenes, "animals")
    made = embed(scenes.storage, card.reference, tmp_path)
    weights = "encoder_unet.safetensors"
    assert made.encoder and 10 * made.files[weights].bytes < card.files[weights].bytes


def test_a_newer_package_takes_the_place_of_the_one_there(scenes: Dataset, tmp_path: Path) -> None:
    first = publish_stand_in(scenes, "animals")
    older = embed(scenes.storage, first.reference, tmp_path)
    other = embed(scenes.storage, publish_stand_in(scenes, "people").reference, tmp_path)
    document = json.loads(scenes.storage.get(f"models/animals/{first.version}/model.json"))
    later = "20990101-000000-000000-abcdef"
    for key in scenes.storage.list(f"models/animals/{first.version}"):
        scenes.storage.put(key.replace(first.version, later), scenes.storage.get(key))
    document["version"] = later
    scenes.storage.put(f"models/animals/{later}/model.json", json.dumps(document).encode())
    newer = embed(scenes.storage, f"animals@{later}", tmp_path)
    target = open_storage(str(tmp_path))
    assert older.version != newer.version == "embedded-20990101-000000"
    assert target.folders("models/animals") == [newer.version]
    assert find(target, "people") == other


def test_packages_may_not_be_larger_than_allowed(
    scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (publish_stand_in(scenes, name).reference for name in ("animals", "people"))
    embed(scenes.storage, one, tmp_path)
    there = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    monkeypatch.setattr(pretrained, "LARGEST", there + 1000)
    with pytest.raises(ColorganError, match=f"{two} does not fit: .* may have"):
        embed(scenes.storage, two, tmp_path)
    assert embed(scenes.storage, one, tmp_path).embedded, "what it replaces does not count"


def test_the_card_counts_photographs_by_the_tables_of_where_they_are_from(tmp_path: Path) -> None:
    photos, storage = tmp_path / "photos", tmp_path / "storage"
    (photos / "train" / "animals").mkdir(parents=True)
    for number in range(8):
        picture = Image.fromarray(draw_scene("animals", number, 64, 80))
        picture.save(photos / "train" / "animals" / f"{number}.png")
    folder = ["stage", f"folder:{photos}", "--dataset", "p", "--storage", str(storage)]
    assert (
        colorgan(
            [*folder, "--size", "64", "--min-side", "32", "--val-share", "0", "--test-share", "0"]
        )
        == 0
    )
    (photos / "provenance.csv").write_text(
        "file,source,licence\n"
        + "".join(f"train/animals/{number}.png,a museum,CC0\n" for number in range(3))
    )
    dataset = open_dataset(open_storage(str(storage)), "p")
    publish_stand_in(dataset, "animals")
    into = tmp_path / "into"
    made = embed(dataset.storage, "animals", into, provenance=[photos / "provenance.csv"])
    said = (into / "models" / "animals" / made.version / "README.md").read_text()
    assert "| photos | not stated | 5 |\n| a museum | CC0 | 3 |\n" in said
    assert str(tmp_path) not in said


def test_the_card_has_what_a_report_measured(scenes: Dataset, tmp_path: Path) -> None:
    card = publish_stand_in(scenes, "animals")
    contestants = (Contestant("gray", ""), Contestant("animals", card.reference))
    evaluation = Evaluation(
        *("r", "2026-11-26T00:00:00", {}, "test", 9, 0, ("animals",), contestants, "", "c"),
        judge="efficientnet_lite2",
    )
    numbers = {"class": "animals", "n": 9, "low": 7.0, "high": 9.0}
    tables = {
        "metric-l1": [{**numbers, "model": name, "mean": 8.0} for name in ("gray", "animals")],
        "metric-colorfulness": [{**numbers, "model": "animals", "mean": 8.5}],
        "frechet": [
            {
                "class": "animals",
                "model": "animals",
                "distance": 30.0,
                "distance_low": 25.0,
                "distance_high": None,
            }
        ],
    }
    scenes.storage.put("reports/r/evaluation.json", evaluation.to_json())
    scenes.storage.put("reports/r/report.json", json.dumps({"tables": tables}).encode())
    made = embed(scenes.storage, "animals", tmp_path, report="r")
    said = (tmp_path / "models" / "animals" / made.version / "README.md").read_text()
    assert "On 9 photographs of the split test (animals)" in said
    assert "| model | L1 in ab | colourfulness | Fréchet distance (efficientnet_lite2) |" in said
    assert "| animals | 8.00 (7.00 to 9.00) | 8.50 (7.00 to 9.00) | 30.00 |" in said
    assert "| gray | 8.00 (7.00 to 9.00) | - | - |" in said
    publish_stand_in(scenes, "people")
    with pytest.raises(NotInStorage, match="report r did not measure people@"):
        embed(scenes.storage, "people", tmp_path, report="r")


def test_a_dataset_of_the_same_name_that_is_another_is_refused(
    scenes: Dataset, tmp_path: Path
) -> None:
    publish_stand_in(scenes, "animals")
    scenes.storage.delete("datasets/scenes")
    stage_scenes(scenes.storage, per_class=12)
    with pytest.raises(NotInStorage, match="is another one than animals@"):
        embed(scenes.storage, "animals", tmp_path)


def test_the_command_needs_folders_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--storage", str(tmp_path)]) == 2
    assert 'make pretrained PHOTOS="FOLDER FOLDER"' in capsys.readouterr().err


def test_embed_is_a_command(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = publish_stand_in(scenes, "animals")
    where = ["--storage", scenes.storage.uri, "--into", str(tmp_path)]
    assert main(["embed", "animals", *where]) == 0
    assert f"embedded animals@embedded-{card.version[:15]}: " in capsys.readouterr().out
    assert main(["embed", "cats", *where]) == 1
    assert "no model 'cats'" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_stages_trains_evaluates_and_embeds(jobs: Jobs, tmp_path: Path) -> None:
    for split, numbers in {"train": range(8), "val": range(8, 12), "test": range(12, 20)}.items():
        for label in CLASSES:
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for number in numbers:
                scene = Image.fromarray(draw_scene(label, number, 256, 288))
                scene.save(folder / f"{number}.png")
    storage, into = tmp_path / "storage", tmp_path / "into"
    command = [sys.executable, "scripts/pretrained.py", "train", str(tmp_path / "photos")]
    command += ["--storage", str(storage), "--into", str(into), "--options"]
    command += ["--epochs 1 --size 64 --width 8 --phases regression --device cpu"]
    environment = {**jobs.environment, "COLORGAN_WARM_COMMANDS": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(open_storage(str(storage)).folders("models/general")) == 1, "it is trained once"
    target = open_storage(str(into))
    assert target.folders("models") == sorted((*CLASSES, "general"))
    card = find(target, "animals")
    said = target.get(f"models/animals/{card.version}/README.md").decode()
    assert "## Measured" in said and "| general | " in said and card.encoder
    assert find(target, "people").training["start_from"] == "general"
