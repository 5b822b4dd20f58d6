import copy

import numpy as np
import pytest
import torch
from torch import nn

from colorgan.data.scenes import draw_scene
from colorgan.inference.colorizer import Colorizer
from colorgan.models import precision
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.efficientnet_lite import fold_norms
from colorgan.models.precision import fastest_dtype, in_use
from colorgan.models.unet import UNetGenerator

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["bfloat16", "no bfloat16"])
def has_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A processor that multiplies bfloat16 itself, or one that does not: both compute it here."""
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: request.param)
    return bool(request.param)


def test_the_fastest_type_is_bfloat16_where_the_processor_has_it(has_bfloat16: bool) -> None:
    assert fastest_dtype(CPU) == (torch.bfloat16 if has_bfloat16 else torch.float32)
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)).eval()
    network[0].running_var[0] = 1.001
    used = in_use(network)
    assert network[1].weight.dtype == torch.float32, "the network itself stays as it is"
    assert (used is network) == (not has_bfloat16)
    assert used[1].weight.dtype == fastest_dtype(CPU)
    assert torch.equal(used[0].running_var, network[0].running_var), "statistics stay exact"


def test_normalisations_become_a_part_of_the_convolutions_before_them() -> None:
    exact = load_classifier().network
    batch = torch.rand(2, 3, 64, 64) * 2 - 1
    folded = copy.deepcopy(exact)
    fold_norms(folded)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in exact.modules()) == 49
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    torch.testing.assert_close(folded(batch), exact(batch), rtol=1e-4, atol=1e-4)


def test_colours_move_by_less_than_a_level_on_average(
    has_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    generator = UNetGenerator(GeneratorConfig(size=64, width=8))
    scenes = [draw_scene("animals", number, 80, 96) for number in range(3)]
    colored = Colorizer(generator)(scenes)
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    exact = Colorizer(generator)
    assert exact.dtype == torch.float32
    difference = np.abs(np.stack(colored).astype(int) - np.stack(exact(scenes)).astype(int))
    assert difference.mean() < 0.5
    assert difference.max() <= (4 if has_bfloat16 else 0)


def test_a_router_computes_in_the_fastest_type_and_a_measurement_in_float32(
    has_bfloat16: bool,
) -> None:
    classifier = load_classifier()
    batch = torch.stack([classifier.view(draw_scene("animals", n, 96, 96)) for n in range(3)])
    features, probabilities = classifier(batch)
    fingerprint = classifier.fingerprint()
    classifier.use_fastest_type()
    seen, guessed = classifier(batch)
    assert classifier.fingerprint() == fingerprint, "the weights are the same"
    assert torch.equal(guessed, probabilities) == (not has_bfloat16)
    torch.testing.assert_close(guessed, probabilities, rtol=0, atol=0.1)
    assert nn.functional.cosine_similarity(seen, features).min() > 0.99
