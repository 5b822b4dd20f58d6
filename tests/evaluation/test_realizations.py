import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.evaluation.realizations import realize
from colorgan.inference.colorizer import Colorizer
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.noise import NoiseChannels
from colorgan.models.unet import UNetGenerator


@pytest.mark.parametrize("channels", [0, 4])
def test_colourings_with_noise_differ_and_are_ordered(scenes: Dataset, channels: int) -> None:
    torch.manual_seed(0)
    generator = UNetGenerator(GeneratorConfig(size=64, width=8, noise_channels=channels))
    for module in generator.modules():
        if isinstance(module, NoiseChannels):
            torch.nn.init.normal_(module.layer.weight)
    state = torch.get_rng_state()
    table = realize({"animals": Colorizer(generator)}, scenes, "test", count=4, limit=3)
    assert torch.equal(state, torch.get_rng_state())
    assert len(table) == 3
    assert (table["spread"] > 0).all()
    assert (table["best"] <= table["mean"]).all()
    assert (table["mean"] <= table["worst"]).all()
    again = realize({"animals": Colorizer(generator)}, scenes, "test", count=4, limit=3)
    assert table.equals(again)
