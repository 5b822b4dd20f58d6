"""A router and generators on one classifier: its features are computed once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from colorgan.classes import PhotoClasses
from colorgan.inference.assembled import AssembledColorizer
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import LabelRouter
from colorgan.models import EMBEDDED
from colorgan.models.architectures import EncoderUNetConfig, GeneratorConfig
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.unet import UNetGenerator

CONFIG = EncoderUNetConfig(224, 8, "lab", "batch", EMBEDDED)
CLASSES = ("animals", "people", "vehicles")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    loaded = load_classifier()
    loaded.use_fastest_type()
    return loaded


def generator(
    seed: int = 0, config: EncoderUNetConfig = CONFIG, moved: float = 0.0
) -> EncoderUNetGenerator:
    """A generator on the embedded classifier, or on one whose weights were moved."""
    torch.manual_seed(seed)
    made = EncoderUNetGenerator(config, load_classifier().network)
    with torch.no_grad():
        made.write.weight.mul_(20)  # colours that differ from seed to seed
        made.encoder[2][0].conv_dw.weight.add_(moved)
    return made


def unet() -> UNetGenerator:
    torch.manual_seed(0)
    return UNetGenerator(GeneratorConfig(size=32, width=2))


def photographs(*sizes: tuple[int, int]) -> list[np.ndarray]:
    made = []
    for seed, (width, height) in enumerate(sizes):
        small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        made.append(np.asarray(Image.fromarray(small).resize((width, height))))
    return made


PHOTOGRAPHS = photographs((120, 90), (90, 200), (224, 224), (64, 64), (300, 240))


def each_class(*colorizers: Colorizer) -> dict[str, Colorizer]:
    return dict(zip(CLASSES, colorizers, strict=True))


def never(*_: object) -> None:
    raise AssertionError("the generator's own encoder has looked")


def test_colours_of_one_pass_are_those_of_two(classifier: Classifier) -> None:
    router = LabelRouter(classifier, PhotoClasses.load())
    colorizers = each_class(*(Colorizer(generator(seed)) for seed in range(3)))
    alone = router(torch.stack([router.prepare(each) for each in PHOTOGRAPHS]))
    separate = [
        colorizers[route.best_class]([photograph], vividness=1.2)[0]
        for photograph, route in zip(PHOTOGRAPHS, alone, strict=True)
    ]
    blind = [generator(seed) for seed in range(3)]
    for each in blind:
        each.encoder.register_forward_pre_hook(never)
    assembled = AssembledColorizer(router, each_class(*map(Colorizer, blind)))
    together = assembled(PHOTOGRAPHS, 1.2)
    for colored, route, expected in zip(together, alone, separate, strict=True):
        assert (colored.model, colored.route.photo_class) == (route.best_class, route.photo_class)
        assert colored.route.scores == pytest.approx(route.scores, abs=1e-5)
        assert np.abs(colored.rgb.astype(int) - expected).max() <= 1
    assert len({colored.rgb.tobytes() for colored in together}) == len(PHOTOGRAPHS)


def test_generators_that_look_for_themselves_colour_beside_those_that_do_not(
    classifier: Classifier,
) -> None:
    """The other weights, the other size and the other network each have their own features."""
    router = LabelRouter(classifier, PhotoClasses.load())
    for own in (generator(moved=0.1), generator(config=replace(CONFIG, size=192)), unet()):
        colorizers = each_class(Colorizer(generator(1)), Colorizer(own), Colorizer(generator(2)))
        one_pass = OnePass(router, colorizers)
        assert [*one_pass.painters] == ["animals", "vehicles"]
        for place, colored in enumerate(AssembledColorizer(router, colorizers)(PHOTOGRAPHS)):
            (expected,) = colorizers[colored.model]([PHOTOGRAPHS[place]])
            assert np.abs(colored.rgb.astype(int) - expected).max() <= 1


def test_who_sees_alike(classifier: Classifier) -> None:
    whole = classifier.view
    cropped = replace(whole, resize=256)
    other = Classifier("other", classifier.network, whole, (0.5,) * 3, (0.5,) * 3)
    luma = Classifier(EMBEDDED, classifier.network, replace(whole, light="luma"), *[(0.5,) * 3] * 2)
    middle = Classifier(EMBEDDED, classifier.network, cropped, *[(0.5,) * 3] * 2)
    colorizer = Colorizer(generator())
    for each in (luma, middle, other):
        each.use_fastest_type()
    alike = [colorizer.sees_alike(each) for each in (classifier, other, luma, middle)]
    assert alike == [True, False, False, False]


def test_a_classifier_that_measures_in_float32_shares_only_with_float32() -> None:
    colorizer = Colorizer(generator())
    assert colorizer.sees_alike(load_classifier()) == (colorizer.dtype == torch.float32)
