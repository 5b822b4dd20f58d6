"""A run of conditional GANs: what a class takes over from the model that it starts from."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.packages.card import find
from colorgan.packages.weights import load_generator
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.model_run import train_model
from colorgan.training.runs import ModelRun
from colorgan.training.states import read_files

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    generator="encoder_unet",
    encoder_rate=0.0,
    size=64,
    width=4,
    discriminator_width=4,
    epochs=2,
    batch_size=8,
    phases="regression+adversarial",
    discriminators="semantic",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))


def spec(scenes: Dataset, model: str, config: TrainingConfig) -> ModelRun:
    return ModelRun(scenes.storage.uri, "scenes", "r", model, config, SpeedConfig(), 1)


def critics(scenes: Dataset, model: str) -> dict[str, torch.Tensor]:
    _, tensors, _ = read_files(Checkpoints(scenes.storage, f"runs/r/{model}").files())
    name = "discriminator.semantic."
    found = {k: v for k, v in tensors.items() if k.startswith(name) and k.endswith("original")}
    assert found
    return found


def test_a_class_begins_with_the_discriminators_of_the_model_it_starts_from(
    scenes: Dataset,
) -> None:
    train_model(spec(scenes, "general", CONFIG), CPU)
    # So slow that what they were at the beginning is there at the end.
    still = dataclasses.replace(CONFIG, start_from="general", discriminator_rate=1e-9)
    result = train_model(spec(scenes, "animals", still), CPU)
    assert result.status == "done"
    torch.testing.assert_close(critics(scenes, "animals"), critics(scenes, "general"))
    # Those of another width cannot be taken over, and are drawn.
    other = dataclasses.replace(still, discriminator_width=6)
    assert train_model(spec(scenes, "people", other), CPU).status == "done"


def test_what_is_published_has_the_record_of_its_epoch(scenes: Dataset) -> None:
    said: list[str] = []
    config = dataclasses.replace(CONFIG, publish="nearest")
    result = train_model(spec(scenes, "general", config), CPU, say=said.append)
    card = find(scenes.storage, "general")
    history = scenes.storage.get("runs/r/general/history.csv").decode().splitlines()
    assert "val_colorfulness,val_distance" in history[0]
    assert card.metrics["epoch"] == 2  # too few photographs for a distance: the last one
    assert card.metrics["val_colorfulness"] > 0 and "val_distance" not in card.metrics
    assert result.val_l1 == card.metrics["val_l1"]
    assert json.loads(scenes.storage.get("runs/r/general/result.json"))["objective"].endswith(
        "adversary on semantic (weight 1); regression 50 %, adversarial 50 %"
    )
    load_generator(scenes.storage, card)
