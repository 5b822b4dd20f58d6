import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor

from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Pixels
from colorgan.inference import colorizer as colorizer_module
from colorgan.inference.colorizer import Colorizer, grayscale, recombine
from colorgan.models import EMBEDDED
from colorgan.models.architectures import GeneratorConfig, HypercolumnConfig, Norm
from colorgan.models.unet import UNetGenerator
from tests.peak import PEAK

SIZES = [(32, 32), (33, 64), (7, 301), (301, 7), (1, 1), (1, 50), (200, 131)]


def photograph(height: int, width: int, seed: int = 0) -> Pixels:
    """Soft colours with sharp grain over them, none near the edges of the gamut."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(90, 170, (4, 5, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BILINEAR))
    return (soft + rng.integers(-25, 26, (height, width, 1))).astype(np.uint8)


def colorizer(norm: Norm = "instance", color_space: ColorSpace = "lab") -> Colorizer:
    """One whose network writes strong colours and has seen other pictures before."""
    torch.manual_seed(0)
    config = GeneratorConfig(size=32, width=4, norm=norm, color_space=color_space)
    generator = UNetGenerator(config)
    with torch.no_grad():
        for layer in (*generator.down, *generator.up):
            layer.weight.mul_(6)
        for _ in range(5):
            generator.train()(torch.rand(8, 1, 32, 32) * 1.2 - 0.9)
    return Colorizer(generator)


class Painted(UNetGenerator):
    """Writes the colours that a function makes of the lightness."""

    def __init__(self, paint: Callable[[Tensor], Tensor], color_space: ColorSpace = "lab") -> None:
        super().__init__(GeneratorConfig(size=32, width=4))
        self.paint = paint
        if color_space == "yuv":  # which hypercolumns alone write
            self.config = HypercolumnConfig(32, 4, EMBEDDED)  # type: ignore[assignment]
        else:
            self.config = GeneratorConfig(size=32, width=4, color_space=color_space)

    def forward(self, lightness: Tensor, noise: bool = False) -> Tensor:
        return self.paint(lightness)


def plain(*color: float) -> Callable[[Tensor], Tensor]:
    channels = torch.tensor(color)[:, None, None]
    return lambda lightness: channels.expand(len(lightness), -1, 32, 32)


def difference(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("color_space", ["lab", "rgb"])
def test_every_photograph_keeps_its_size(color_space: ColorSpace) -> None:
    photographs = [photograph(*size) for size in SIZES]
    colored = colorizer(color_space=color_space)(photographs)
    assert [each.shape for each in colored] == [(*size, 3) for size in SIZES]
    assert {each.dtype for each in colored} == {np.dtype(np.uint8)}


def test_no_photographs_are_coloured_to_none() -> None:
    assert colorizer()([]) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_lightness_stays_at_full_resolution(size: tuple[int, int]) -> None:
    original = photograph(*size)
    waves = torch.linspace(-0.08, 0.08, 32).expand(1, 2, 32, 32).clone()
    waves[:, 1] = waves[:, 1].mT.clone()
    colored = Colorizer(Painted(lambda _: waves))([original])[0]
    change = np.abs(rgb2lab(colored)[..., 0] - rgb2lab(original)[..., 0])
    assert change.mean() < 0.5
    assert change.max() < 1


@pytest.mark.parametrize("size", [(32, 32), (33, 64), (200, 131)])
def test_the_colours_are_those_of_the_generator(size: tuple[int, int]) -> None:
    colored = Colorizer(Painted(plain(0.1, -0.2)))([photograph(*size)])[0]
    ab = rgb2lab(colored)[..., 1:]
    np.testing.assert_allclose(ab.mean(axis=(0, 1)), [11, -22], atol=0.3)


def test_colours_lie_where_the_generator_put_them() -> None:
    left_red = torch.zeros(1, 2, 32, 32)
    left_red[:, 0, :, :16], left_red[:, 0, :, 16:] = 0.15, -0.15
    top_yellow = left_red.flip(1).transpose(2, 3)
    for size in ((60, 200), (200, 60)):
        a = rgb2lab(Colorizer(Painted(lambda _: left_red))([photograph(*size)])[0])[..., 1]
        b = rgb2lab(Colorizer(Painted(lambda _: top_yellow))([photograph(*size)])[0])[..., 2]
        columns, rows = np.sign(a.mean(axis=0)), np.sign(b.mean(axis=1))
        assert columns.tolist() == [1] * (size[1] // 2) + [-1] * (size[1] // 2)
        assert rows.tolist() == [1] * (size[0] // 2) + [-1] * (size[0] // 2)


@pytest.mark.parametrize("vividness", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("color_space", "color"), [("lab", (0.1, -0.1)), ("yuv", (0.1, 0.1)), ("rgb", (0.2, 0.1, 0.0))]
)
def test_vividness_multiplies_the_chroma(
    color_space: ColorSpace, color: tuple[float, ...], vividness: float
) -> None:
    colorizer = Colorizer(Painted(plain(*color), color_space))
    plainly, vividly = (
        rgb2lab(colorizer([photograph(40, 50)], vividness=each)[0]).mean(axis=(0, 1))
        for each in (1.0, vividness)
    )
    # Of yuv it is the luma that stays, not the lightness.
    assert vividly[0] == pytest.approx(plainly[0], abs=3 if color_space == "yuv" else 1)
    np.testing.assert_allclose(vividly[1:], vividness * plainly[1:], atol=1.5)


def test_in_rgb_the_picture_is_the_generators_own() -> None:
    painted = Colorizer(Painted(plain(-1.0, 0.2, 1.0), "rgb"))([photograph(40, 70)])[0]
    np.testing.assert_array_equal(painted, np.full((40, 70, 3), (0, 153, 255)))


@pytest.mark.parametrize("color_space", ["lab", "rgb"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_colours_do_not_depend_on_the_others_of_the_batch(
    norm: Norm, color_space: ColorSpace
) -> None:
    photographs = [photograph(40 + seed, 50, seed) for seed in range(4)]
    color = colorizer(norm, color_space)
    together = color(photographs)
    for original, colored in zip(photographs, together, strict=True):
        assert difference(color([original])[0], colored) <= 1
    assert difference(color(photographs[::-1])[0], together[3]) <= 1


def test_the_generator_is_taken_out_of_training() -> None:
    color = colorizer("batch")
    assert not color.generator.training
    before = {name: value.clone() for name, value in color.generator.state_dict().items()}
    color([photograph(40, 50)], noise=True)
    for name, value in color.generator.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("color_space", ["lab", "rgb"])
@pytest.mark.parametrize("strip_pixels", [1, 50 * 7, 50 * 13 + 1])
def test_strips_make_the_same_picture_as_the_whole(
    strip_pixels: int, color_space: ColorSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    color = colorizer(color_space=color_space)
    whole = color([photograph(61, 50)])[0]
    monkeypatch.setattr(colorizer_module, "_STRIP_PIXELS", strip_pixels)
    assert difference(color([photograph(61, 50)])[0], whole) == 0


def test_noise_gives_another_colouring_every_time() -> None:
    color = colorizer()
    original = photograph(40, 50)
    first, second = (color([original], noise=True)[0] for _ in range(2))
    assert np.abs(first.astype(int) - second).mean() > 2
    assert difference(color([original])[0], color([original])[0]) == 0


def test_two_photographs_are_coloured_differently() -> None:
    """What the other tests compare would be equal anyway if every picture got the same colours."""
    one, other = (rgb2lab(each) for each in colorizer()([photograph(64, 64, s) for s in (0, 1)]))
    assert np.abs(one[..., 1:] - other[..., 1:]).mean() > 2
    assert one[..., 1:].std() > 4


@pytest.mark.parametrize("size", [(32, 32), (90, 130)])
@pytest.mark.parametrize("color_space", ["lab", "rgb"])
def test_the_colour_of_the_input_is_ignored(color_space: ColorSpace, size: tuple[int, int]) -> None:
    color = colorizer(color_space=color_space)
    original = photograph(*size)
    one, other = color([original, grayscale(original)])
    assert difference(original, grayscale(original)) > 30
    assert np.abs(one.astype(int) - other).mean() < 2


def test_the_photograph_itself_is_not_changed() -> None:
    original = photograph(40, 50)
    original.flags.writeable = False
    colorizer()([original])
    np.testing.assert_array_equal(original, photograph(40, 50))


def test_grayscale_keeps_the_lightness_and_no_colour() -> None:
    original = photograph(33, 64)
    gray = grayscale(original)
    assert gray.shape == original.shape
    assert gray.dtype == np.uint8
    assert difference(gray[..., :1], gray) <= 1
    assert np.abs(rgb2lab(gray)[..., 0] - rgb2lab(original)[..., 0]).max() < 0.5


@pytest.mark.parametrize("size", [(900, 1), (1, 900), (70_000, 1), (1, 70_000)])
def test_a_single_line_has_the_colours_of_the_generator_along_it(size: tuple[int, int]) -> None:
    waves = torch.linspace(-0.3, 0.3, 32).expand(3, 32, 32)
    waves = waves.mT if size[1] == 1 else waves
    gray = np.full((*size, 3), 128, np.uint8)
    colored = recombine(gray, waves, "rgb").reshape(-1, 3)
    places = (np.arange(len(colored)) + 0.5) * 32 / len(colored) - 0.5
    expected = np.interp(places, np.arange(32), np.linspace(-0.3, 0.3, 32))
    np.testing.assert_allclose(colored[:, 0], (expected + 1) * 127.5, atol=0.51)


@pytest.mark.parametrize("size", [(4000, 5000), (1, 5_000_000), (5_000_000, 1)])
def test_the_memory_to_colour_is_bounded_by_the_photographs_size(size: tuple[int, int]) -> None:
    program = f"""{PEAK}
import numpy as np
import torch
from colorgan.inference.colorizer import grayscale, recombine
torch.set_num_threads(1)
photograph = np.full(({size[0]}, {size[1]}, 3), 90, np.uint8)
recombine(photograph[:300, :300], torch.zeros(2, 32, 32), "lab")
before = peak()
color = torch.zeros(2, 256, 256)
assert grayscale(photograph).shape == recombine(photograph, color, "lab").shape
print(peak() - before)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # KiB: the two results, and a strip's worth of floating-point numbers, some 120 bytes a pixel.
    assert int(done.stdout) * 1024 < 2 * 3 * size[0] * size[1] + 256 * 2**20
