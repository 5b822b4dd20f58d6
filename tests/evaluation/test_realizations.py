import torch

from colorgan.data.dataset import Dataset
from colorgan.evaluation.realizations import realize
from colorgan.inference.colorizer import Colorizer
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.unet import UNetGenerator


def test_colourings_with_dropout_differ_and_are_ordered(scenes: Dataset) -> None:
    torch.manual_seed(0)
    generator = UNetGenerator(GeneratorConfig(size=64, width=8))
    state = torch.get_rng_state()
    table = realize({"animals": Colorizer(generator)}, scenes, "test", count=4, limit=3)
    assert torch.equal(state, torch.get_rng_state())
    assert len(table) == 3
    assert (table["spread"] > 0).all()
    assert (table["best"] <= table["mean"]).all()
    assert (table["mean"] <= table["worst"]).all()
    again = realize({"animals": Colorizer(generator)}, scenes, "test", count=4, limit=3)
    assert table.equals(again)
