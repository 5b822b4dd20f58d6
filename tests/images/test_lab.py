import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from colorgan.images.color_spaces import COLOR_CHANNELS, ColorSpace
from colorgan.images.lab import decode, encode, lab_to_rgb, lightness, recolor, rgb_to_lab

Floats = npt.NDArray[np.floating]

# Both sides of the bend in the curve of sRGB (10 and 11), and the ends.
LEVELS = (0, 1, 2, 10, 11, 12, 64, 127, 128, 200, 254, 255)
EDGES = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(36, 48, 3) / 255
RANDOM = np.random.default_rng(0).random((40, 50, 3))
STEPS = np.arange(0, 256, 15).astype(np.uint8)
GRID = np.stack(np.meshgrid(STEPS, STEPS, STEPS), axis=-1).reshape(18, 324, 3)


def channels_first(picture: Floats, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).to(dtype)


def channels_last(picture: Tensor) -> Floats:
    pixels: Floats = picture.permute(1, 2, 0).numpy()
    return pixels


def photographs() -> Tensor:
    """All colours of a coarse grid, as a batch of two."""
    grid = torch.from_numpy(GRID).permute(2, 0, 1)
    return torch.stack([grid, grid.flip(2)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rgb", [RANDOM, EDGES], ids=["random", "edges"])
def test_lab_agrees_with_skimage(rgb: Floats, dtype: torch.dtype) -> None:
    lab = rgb_to_lab(channels_first(rgb, dtype))
    assert lab.dtype == dtype
    np.testing.assert_allclose(channels_last(lab), rgb2lab(rgb), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rgb_agrees_with_skimage_inside_the_gamut_and_out(dtype: torch.dtype) -> None:
    draw = np.random.default_rng(1)
    anywhere = np.dstack([draw.uniform(30, 90, (40, 50)), draw.uniform(-60, 60, (40, 50, 2))])
    for lab in (rgb2lab(RANDOM), rgb2lab(EDGES), anywhere):
        rgb = lab_to_rgb(channels_first(lab, dtype))
        assert rgb.dtype == dtype
        np.testing.assert_allclose(channels_last(rgb), lab2rgb(lab), rtol=0, atol=1e-3)


def test_known_colours() -> None:
    rgb = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]).float().T[:, None]
    expected = [[100.0, 0, 0], [0.0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(rgb_to_lab(rgb)[:, 0].T, expected, atol=0.02)


@pytest.mark.parametrize("rgb", [RANDOM, EDGES], ids=["random", "edges"])
def test_there_and_back(rgb: Floats) -> None:
    pixels = channels_first(rgb, torch.float64)
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(pixels)), pixels, rtol=0, atol=1e-6)


def test_any_number_of_leading_dimensions() -> None:
    rgb = torch.rand(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    lab = rgb_to_lab(rgb)
    assert lab.shape == rgb.shape
    np.testing.assert_allclose(lab[1, 2], rgb_to_lab(rgb[1, 2]), rtol=0, atol=1e-3)
    assert lab_to_rgb(lab).shape == rgb.shape


def test_colours_outside_the_gamut_are_clipped() -> None:
    lab = torch.tensor([[0.0, 127, 127], [100, -128, 127], [50, 127, -128], [100, 100, 100]])
    rgb = lab_to_rgb(lab.T[:, None])
    assert rgb.isfinite().all()
    assert rgb.min() == 0
    assert 0.999 < rgb.max() <= 1


@pytest.mark.parametrize("color_space", ["lab", "rgb", "yuv"])
def test_decode_undoes_encode(color_space: ColorSpace) -> None:
    rgb = photographs()
    decoded = decode(*encode(rgb, color_space), color_space)
    assert decoded.dtype == torch.float32
    assert torch.equal((decoded * 255).round().to(torch.uint8), rgb)
    np.testing.assert_allclose(decoded, rgb.float() / 255, rtol=0, atol=1e-4)


@pytest.mark.parametrize("color_space", COLOR_CHANNELS)
def test_decoding_has_a_gradient_even_at_black_and_white(color_space: ColorSpace) -> None:
    lightness = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 1, 3, 3)
    color = torch.zeros(2, COLOR_CHANNELS[color_space], 3, 3, requires_grad=True)
    decode(lightness, color, color_space).sum().backward()
    assert color.grad is not None and color.grad.isfinite().all()


def test_u_and_v_reach_one_at_the_primary_colours() -> None:
    primaries = torch.tensor([[255, 0, 0], [0, 0, 255], [128, 128, 128]], dtype=torch.uint8)
    luma, color = encode(primaries.T[None, :, None], "yuv")
    np.testing.assert_allclose(luma[0, 0, 0], [2 * 0.299 - 1, 2 * 0.114 - 1, 1 / 255], atol=1e-6)
    np.testing.assert_allclose(color[0, 1, 0, 0], 1, atol=1e-6)  # V of red
    np.testing.assert_allclose(color[0, 0, 0, 1], 1, atol=1e-6)  # U of blue
    np.testing.assert_allclose(color[0, :, 0, 2], 0, atol=1e-6)


def test_recolor_is_encode_and_decode_within_one_level() -> None:
    rgb = photographs()[:1]
    lightness, own = encode(rgb, "lab")
    other = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, own.shape)).float()
    for color in (own, other, own * 0):
        expected = decode(lightness, color, "lab")[0].mul(255).round().to(torch.uint8)
        result = recolor(GRID, color[0].numpy())
        assert (result.dtype, result.shape, result.flags.c_contiguous) == (np.uint8, GRID.shape, 1)
        apart = np.abs(channels_last(expected).astype(int) - result)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.01


@pytest.mark.parametrize("color_space", ["lab", "rgb", "yuv"])
def test_what_networks_see_lies_between_minus_one_and_one(color_space: ColorSpace) -> None:
    lightness, color = encode(photographs(), color_space)
    assert lightness.shape == (2, 1, 18, 324)
    assert color.shape == (2, COLOR_CHANNELS[color_space], 18, 324)
    assert lightness.dtype == color.dtype == torch.float32
    for channels in (lightness, color):
        assert channels.abs().max() <= 1 + 1e-6
    assert lightness.min() == pytest.approx(-1, abs=1e-5)
    assert lightness.max() == pytest.approx(1, abs=1e-5)
    assert color.min() < -0.9
    assert color.max() > 0.85


def test_the_lightness_is_the_same_in_both_colour_spaces() -> None:
    rgb = photographs()
    assert torch.equal(encode(rgb, "lab")[0], encode(rgb, "rgb")[0])


def test_grays_have_no_colour() -> None:
    gray = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    lightness, color = encode(gray, "lab")
    assert color.abs().max() < 1e-4
    assert (lightness.diff() > 0).all()


def test_lab_takes_its_lightness_from_the_photograph_and_rgb_does_not() -> None:
    lightness, color = encode(photographs(), "lab")
    assert not torch.equal(decode(lightness, color, "lab"), decode(lightness / 2, color, "lab"))
    lightness, color = encode(photographs(), "rgb")
    assert torch.equal(decode(lightness, color, "rgb"), decode(lightness / 2, color, "rgb"))


def test_lightness_by_tables_is_what_networks_see() -> None:
    batch = np.stack([GRID, GRID[::-1]])
    seen, _ = encode(torch.from_numpy(batch.copy()).permute(0, 3, 1, 2), "lab")
    by_tables = torch.from_numpy(lightness(batch))[:, None]
    assert by_tables.dtype == torch.float32
    torch.testing.assert_close(by_tables * 2 - 1, seen, rtol=0, atol=2e-6)
