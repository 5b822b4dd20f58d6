import numpy as np
import pytest
import torch
from torch import Tensor

from colorgan.evaluation.failures import patchiness, reason
from colorgan.images.decoding import Pixels
from colorgan.images.lab import lab_to_rgb


def picture(chroma: Tensor, lightness: Tensor | None = None) -> Tensor:
    """(1, 3, 64, 64) sRGB of an a channel, with b = a, in Lab units."""
    light = torch.full((64, 64), 60.0) if lightness is None else lightness
    return lab_to_rgb(torch.stack([light, chroma, chroma])[None])


def halves(left: float, right: float) -> Tensor:
    return torch.cat([torch.full((64, 32), left), torch.full((64, 32), right)], dim=1)


def test_colour_that_follows_edges_is_no_patch() -> None:
    patch = patchiness(picture(halves(0.0, 20.0)))
    edge = patchiness(picture(halves(0.0, 20.0), halves(40.0, 70.0)))
    flat = patchiness(picture(halves(10.0, 10.0)))
    assert patch.item() > 0.1
    assert edge.item() == pytest.approx(flat.item(), abs=0.02) == 0


@pytest.mark.parametrize(
    ("chroma", "sent_to", "words"),
    [
        (halves(12.0, 12.0), "", "other colours"),
        (halves(1.0, 1.0), "", "nearly gray"),
        (halves(40.0, 40.0), "animals", "too strong"),
        (halves(4.0, 16.0), "people", "sent to people, patches, too strong"),
    ],
)
def test_what_is_wrong_is_said(chroma: Tensor, sent_to: str, words: str) -> None:
    original = picture(halves(14.0, 14.0))
    assert reason(picture(chroma), original, "animals", sent_to) == words


def test_a_picture_of_any_shape_has_a_patchiness() -> None:
    rgb: Pixels = np.random.default_rng(0).integers(0, 255, (300, 180, 3), np.uint8)
    values = patchiness(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)
    assert values.shape == (1,)
    assert values.item() > 0
