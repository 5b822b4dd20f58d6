"""The size of the square that a generator is made to see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from colorgan.classes import PhotoClasses
from colorgan.errors import ConfigError
from colorgan.inference.assembled import AssembledColorizer
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.networks import describe
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import LabelRouter
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.unet import UNetGenerator
from tests.inference.test_one_pass import CONFIG, PHOTOGRAPHS, each_class, generator


@pytest.mark.parametrize("size", [64, 320])
def test_the_colours_are_those_of_a_generator_of_that_size(size: int) -> None:
    told, made = (
        Colorizer(generator(), size),
        Colorizer(generator(config=replace(CONFIG, size=size))),
    )
    assert describe(told, "animals").size == size
    assert told.look(PHOTOGRAPHS).shape == (len(PHOTOGRAPHS), 2, size, size)
    for one, other in zip(told(PHOTOGRAPHS), made(PHOTOGRAPHS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_encoder_is_shared_with_the_router_only_where_both_see_the_same_square() -> None:
    classifier = load_classifier()
    classifier.use_fastest_type()
    router = LabelRouter(classifier, PhotoClasses.load())
    same, larger = (
        each_class(*(Colorizer(generator(seed), size) for seed in range(3))) for size in (224, 288)
    )
    assert len(OnePass(router, same).painters) == 3
    assert not OnePass(router, larger).painters
    for place, colored in enumerate(AssembledColorizer(router, larger)(PHOTOGRAPHS)):
        (alone,) = larger[colored.model]([PHOTOGRAPHS[place]])
        assert np.abs(colored.rgb.astype(int) - alone).max() <= 1


@pytest.mark.parametrize("size", [0, -32, 32, 100, 225, 1056])
def test_a_size_that_a_generator_cannot_see_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="choose a multiple of 32, from 64 to 1024"):
        Colorizer(generator(), size)


def test_a_pix2pix_generator_takes_multiples_of_its_own_size() -> None:
    torch.manual_seed(0)
    unet = UNetGenerator(GeneratorConfig(size=64, width=2))
    assert Colorizer(unet, 128).look(PHOTOGRAPHS[:1]).shape == (1, 2, 128, 128)
    with pytest.raises(ConfigError, match="choose a multiple of 64, from 64 to 1024"):
        Colorizer(unet, 96)
