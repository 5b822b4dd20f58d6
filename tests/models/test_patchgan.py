import torch
from torch import nn

from benchmarks.reference_step import reference_discriminator
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.models.pictures import Colored


def test_the_discriminator_sees_70_by_70_patches() -> None:
    discriminator = PatchDiscriminator(2, width=2, norm="batch").double().eval()
    lightness = torch.zeros(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    color = torch.randn(1, 2, 256, 256, dtype=torch.float64)
    (logits,) = discriminator(Colored(lightness, color))
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    assert lightness.grad is not None
    rows = lightness.grad[0, 0].abs().sum(dim=1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_it_computes_what_the_published_architecture_does() -> None:
    """The same weights and photograph give the numbers of an independent implementation."""
    torch.manual_seed(0)
    ours = PatchDiscriminator(2, width=4, norm="batch").eval()
    reference = reference_discriminator(4).eval()
    layers = [each for each in reference if isinstance(each, nn.Conv2d | nn.BatchNorm2d)]
    mine = [
        each
        for pair in zip(ours.convolutions, ours.norms, strict=True)
        for each in pair
        if not isinstance(each, nn.Identity)
    ]
    for here, there in zip(mine, layers, strict=True):
        there.load_state_dict(here.state_dict())
    lightness, color = torch.rand(2, 1, 64, 64) * 2 - 1, torch.rand(2, 2, 64, 64) * 2 - 1
    with torch.no_grad():
        (logits,) = ours(Colored(lightness, color))
        torch.testing.assert_close(logits, reference(torch.cat([lightness, color], dim=1)))
