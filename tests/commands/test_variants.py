"""Several colourings of one photograph, on the command line and from Python."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import colorgan
from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.inference.assembled import InTurn, assemble, complete
from colorgan.inference.router_choice import RouterConfig
from colorgan.models import EMBEDDED
from colorgan.models.architectures import EncoderUNetConfig, GeneratorConfig
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.noise import NoiseChannels
from colorgan.models.unet import UNetGenerator
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage
from tests.test_cli import photograph

NOISY = EncoderUNetConfig(64, 4, "lab", "batch", EMBEDDED, noise_channels=3)


def publish_model(dataset: Dataset, name: str, config: EncoderUNetConfig | GeneratorConfig) -> None:
    torch.manual_seed(0)
    network: EncoderUNetGenerator | UNetGenerator
    if isinstance(config, GeneratorConfig):
        network = UNetGenerator(config)
    else:
        network = EncoderUNetGenerator(config)
    for module in network.modules():
        if isinstance(module, NoiseChannels):
            torch.nn.init.normal_(module.layer.weight)
    trained = Trained(network.eval(), dataset.model_classes(name), {}, {}, 1.0, "cpu")
    publish(dataset.storage, name, dataset, trained)


@pytest.fixture
def noisy(scenes: Dataset) -> Storage:
    """A storage whose model of animals has noise channels."""
    publish_model(scenes, "animals", NOISY)
    return scenes.storage


def colorize(storage: Storage, *arguments: object) -> int:
    options = ("--storage", storage.uri, "--model", "animals")
    return main(["colorize", *options, *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_variants_are_numbered_differ_and_can_be_made_again(
    noisy: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, out = photograph(tmp_path / "old.jpg"), tmp_path / "out"
    assert colorize(noisy, original, "--variants", 3, "-o", out / "new.png") == 0
    assert names(out) == ["new-1.png", "new-2.png", "new-3.png"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in names(out))
    one, two, three = (pixels(out / name) for name in names(out))
    assert np.abs(one - two).max() > 3 and np.abs(two - three).max() > 3
    assert colorize(noisy, original, "-o", out / "plain.png") == 0
    assert colorize(noisy, original, "--variant", 3, "-o", out / "again.png") == 0
    assert (out / "plain.png").read_bytes() == (out / "new-1.png").read_bytes()
    assert (out / "again.png").read_bytes() == (out / "new-3.png").read_bytes()


def test_no_variant_is_written_over_a_file_unasked(
    noisy: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir(), out.mkdir()
    for name in ("a.jpg", "a-1.jpg"):
        photograph(folder / name)
    (out / "a-2.png").write_bytes(b"mine")
    several = (folder, "--variants", 2, "-o", out)
    assert colorize(noisy, *several) == 2
    assert "a-2.png" in capsys.readouterr().err
    assert names(out) == ["a-2.png"]
    assert colorize(noisy, *several, "--skip-existing") == 0
    assert names(out) == ["a-1-1.png", "a-1-2.png", "a-1.png", "a-2.png"]
    assert (out / "a-2.png").read_bytes() == b"mine"
    assert colorize(noisy, *several, "--overwrite") == 0
    assert (out / "a-2.png").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--variants", "0"), "--variants: 0 variants: choose from 1 to 16"),
        (("--variants", "17"), "--variants: 17 variants"),
        (("--variant", "0"), "--variant counts from 1"),
        (("--variants", "2", "-o", "-"), "standard output takes one variant"),
    ],
)
def test_variants_that_cannot_be_are_refused(
    noisy: Storage,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    output = () if "-o" in options else ("-o", tmp_path / "out.png")
    assert colorize(noisy, photograph(tmp_path / "a.jpg"), *options, *output) == 2
    assert sentence in capfd.readouterr().err


def test_a_package_without_noise_is_refused_and_dropout_is_noise(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = photograph(tmp_path / "a.jpg")
    publish_model(scenes, "animals", replace(NOISY, noise_channels=0))
    several = (original, "--variants", 2, "-o", tmp_path / "out.png")
    assert colorize(scenes.storage, *several) == 2
    error = capsys.readouterr().err
    assert "animals@" in error and "has no noise" in error and "--noise-channels" in error
    assert "--dataset NAME --model MODEL" in error, "train requires both"
    publish_model(scenes, "people", GeneratorConfig(size=32, width=4))
    assert colorize(scenes.storage, *several, "--model", "people") == 0
    first, second = (pixels(tmp_path / f"out-{number}.png") for number in (1, 2))
    assert np.abs(first - second).max() > 0


def test_the_assembled_model_has_variants(scenes: Dataset) -> None:
    for name in scenes.manifest.classes:
        publish_model(scenes, name, NOISY)
    colorizer = assemble(RouterConfig(), scenes.storage).load(scenes.storage)
    rgb = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    variants = colorizer.variants(rgb, 3)
    (plain,) = colorizer([rgb])
    assert [each.rgb.shape for each in variants] == [(40, 50, 3)] * 3
    assert np.array_equal(variants[0].rgb, plain.rgb)
    assert np.abs(variants[1].rgb.astype(int) - variants[2].rgb).max() > 3
    (predicted,) = colorizer.predict([rgb], (3,))
    assert np.array_equal(predicted.picture(), variants[2].rgb)


def test_what_was_not_begun_is_closed_when_a_step_before_it_raises() -> None:
    """Or Python warns of a coroutine that was never awaited, beside the sentence."""

    async def refused() -> None:
        raise ConfigError("no noise")

    async def later() -> None:
        pass

    left = later()
    with pytest.raises(ConfigError, match="no noise"):
        complete(InTurn().together(refused(), left))
    assert inspect.getcoroutinestate(left) == inspect.CORO_CLOSED


def test_a_program_gets_variants(noisy: Storage, tmp_path: Path) -> None:
    models = colorgan.load(noisy.uri, "animals", device="cpu")
    original = photograph(tmp_path / "old.jpg")
    first, second = models.variants(original, 2)
    plain = models(original)
    assert isinstance(first, Image.Image) and isinstance(second, Image.Image)
    assert first.tobytes() == plain.tobytes() != second.tobytes()
    with pytest.raises(ConfigError, match="17 variants"):
        models.variants(original, 17)
