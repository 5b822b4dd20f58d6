"""Colours and classes from a GPU are the CPU's."""

import copy

import numpy as np
import pytest
import torch

from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import Colorizer
from colorgan.models import EMBEDDED
from colorgan.models.architectures import EncoderUNetConfig, GeneratorConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.unet import UNetGenerator

CPU = torch.device("cpu")


def make_generator(kind: str) -> Generator:
    """A generator whose random weights write colours of middling strength."""
    torch.manual_seed(0)
    if kind == "unet":
        return UNetGenerator(GeneratorConfig(size=64, width=8)).eval()
    config = EncoderUNetConfig(64, 8, "lab", "batch", EMBEDDED)
    return EncoderUNetGenerator(config, load_classifier().network).eval()


def scenes(count: int) -> list[Pixels]:
    return [draw_scene(CLASSES[n % len(CLASSES)], n, 80, 96) for n in range(count)]


@pytest.mark.parametrize("kind", ["unet", "encoder_unet"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_colours_are_the_cpus(device: torch.device, kind: str, count: int) -> None:
    generator = make_generator(kind)
    expected = Colorizer(copy.deepcopy(generator))(scenes(count))
    colored = Colorizer(generator.to(device))(scenes(count))
    for ours, theirs in zip(colored, expected, strict=True):
        difference = np.abs(ours.astype(int) - theirs.astype(int))
        assert difference.mean() < 1
        assert difference.max() <= 4


def test_a_photographs_colours_do_not_depend_on_its_batch(device: torch.device) -> None:
    colorizer = Colorizer(make_generator("unet").to(device))
    alone, together = colorizer(scenes(1))[0], colorizer(scenes(9))[0]
    assert np.abs(alone.astype(int) - together.astype(int)).max() <= 2


def test_the_classifier_sees_what_it_sees_on_the_cpu(device: torch.device) -> None:
    batch = torch.stack([load_classifier().view(scene) for scene in scenes(4)])
    features, probabilities = load_classifier(device=device)(batch)
    expected, theirs = load_classifier()(batch)
    torch.testing.assert_close(probabilities, theirs, rtol=0, atol=0.02)
    assert torch.nn.functional.cosine_similarity(features, expected).min() > 0.999
