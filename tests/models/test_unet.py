import pytest
import torch
from torch import nn

from benchmarks.reference_step import ReferenceGenerator
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.unet import UNetGenerator


@pytest.mark.parametrize(("size", "depth"), [(256, 8), (128, 7), (32, 5)])
@pytest.mark.parametrize(("color_space", "channels"), [("lab", 2), ("rgb", 3)])
def test_the_generator_halves_to_one_pixel_and_writes_the_colour_space(
    size: int, depth: int, color_space: str, channels: int
) -> None:
    config = GeneratorConfig(size=size, width=2, color_space=color_space)  # type: ignore[arg-type]
    generator = UNetGenerator(config).eval()
    assert config.depth == len(generator.down) == depth
    with torch.no_grad():
        out = generator(torch.zeros(1, 1, size, size))
        wide = generator(torch.zeros(1, 1, size, 2 * size))
    assert out.shape == (1, channels, size, size)
    assert wide.shape == (1, channels, size, 2 * size)
    assert out.abs().max() <= 1


def test_the_generator_at_full_size_has_the_papers_54_million_parameters() -> None:
    with torch.device("meta"):
        generator = UNetGenerator(GeneratorConfig(color_space="rgb"))
    count = sum(parameter.numel() for parameter in generator.parameters())
    assert count == pytest.approx(54.4e6, rel=0.01)


def test_it_computes_what_the_published_architecture_does() -> None:
    """The same weights and photograph give the numbers of an independent implementation."""
    torch.manual_seed(0)
    ours = UNetGenerator(GeneratorConfig(size=64, width=4, norm="batch")).eval()
    reference = ReferenceGenerator(64, 4).eval()
    pairs = [
        *zip(ours.down, ours.down_norm, reference.down, strict=True),
        *zip(ours.up, ours.up_norm, reference.up, strict=True),
    ]
    for convolution, norm, layers in pairs:
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
        layers[1].load_state_dict(convolution.state_dict())
        layers[2].load_state_dict(norm.state_dict())
    lightness = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours(lightness), reference(lightness))
