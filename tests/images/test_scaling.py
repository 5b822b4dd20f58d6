import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from colorgan.images.scaling import scale
from colorgan.models.view import View
from tests.peak import PEAK

VIEWS = {
    "whole": View(224, None, Image.Resampling.BICUBIC),
    "middle": View(224, 256, Image.Resampling.BILINEAR),
}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_before(view: View, photograph: np.ndarray) -> np.ndarray:
    """What torchvision's transforms do, in Pillow alone."""
    image = Image.fromarray(photograph).convert("L")
    if view.resize is None:
        return np.asarray(image.resize((view.side, view.side), view.filter))
    width, height = (int(view.resize * length / min(image.size)) for length in image.size)
    image = image.resize((width, height), view.filter)
    left, top = round((width - view.side) / 2), round((height - view.side) / 2)
    return np.asarray(image.crop((left, top, left + view.side, top + view.side)))


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("size", [(300, 400), (401, 299), (64, 64), (40, 1270), (3, 90), (1, 1)])
def test_a_photograph_of_ordinary_proportions_is_seen_as_before(
    view: View, size: tuple[int, int]
) -> None:
    photograph = noise(*size)
    np.testing.assert_array_equal(view(photograph)[0].numpy(), as_before(view, photograph))


@pytest.mark.parametrize("upright", [True, False])
def test_of_a_long_photograph_the_middle_is_seen(upright: bool) -> None:
    photograph = np.zeros((10, 6000, 3), np.uint8)
    photograph[:, 2900:3100] = 200  # more than the square shows
    photograph[:, :2900:2] = 255
    if upright:
        photograph = photograph.transpose(1, 0, 2)
    assert (VIEWS["middle"](photograph) == 200).all()


def test_a_side_beyond_the_longest_keeps_its_means() -> None:
    column = np.repeat(np.arange(256, dtype=np.uint8), 1000)[:, None]
    scaled = np.asarray(scale(Image.fromarray(column), (8, 256), Image.Resampling.BOX))
    np.testing.assert_allclose(scaled, np.arange(256)[:, None].repeat(8, 1), atol=1)


# Scaled as it is, 1 x 60,000 would take 4 GB as the middle alone, and 1 x 20,000,000 18 GB.
@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (20_000_000, 1)])
def test_an_extreme_photograph_takes_little_memory(size: tuple[int, int]) -> None:
    program = f"""{PEAK}
import numpy as np
from PIL import Image
from colorgan.images.decoding import is_grayscale, resize_square
from colorgan.models.view import View
photograph = np.full(({size[0]}, {size[1]}, 3), 90, np.uint8)
before = peak()
for resize in (None, 256):
    assert (View(224, resize, Image.Resampling.BICUBIC)(photograph) == 90).all()
assert (resize_square(photograph, 256) == 90).all()
assert is_grayscale(photograph)
print(peak() - before)
"""
    limit = 3 * 1024**3

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=bounded,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 600 * 1024  # KiB; of 20,000,000 rows Pillow keeps 20 bytes each
