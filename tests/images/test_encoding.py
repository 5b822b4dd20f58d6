"""A picture in each format: the API and the command line write with the same function."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from colorgan.errors import ImageRejected
from colorgan.images.encoding import PICTURE_FORMATS, check_size, composite, encode

_LOSSLESS = ("png", "tiff")


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("picture_format", PICTURE_FORMATS)
def test_a_format_is_what_its_name_says(picture_format: str) -> None:
    rgb = np.full((20, 30, 3), (200, 90, 30), dtype=np.uint8)
    with Image.open(io.BytesIO(encode(picture_format, rgb))) as image:
        assert image.format == picture_format.upper()
        pixels = np.asarray(image.convert("RGB"))
    assert np.abs(pixels.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("picture_format", _LOSSLESS)
@pytest.mark.parametrize("with_alpha", [False, True])
def test_png_and_tiff_keep_every_pixel(picture_format: str, with_alpha: bool) -> None:
    rgb, alpha = _noise(33, 47, 3), _noise(33, 47) if with_alpha else None
    expected = rgb if alpha is None else np.dstack([rgb, alpha])
    with Image.open(io.BytesIO(encode(picture_format, rgb, alpha))) as image:
        assert np.array_equal(np.asarray(image), expected)


def test_jpeg_shows_what_is_transparent_on_white_at_full_chroma_resolution() -> None:
    rgb = np.zeros((16, 16, 3), dtype=np.uint8)
    alpha = np.zeros((16, 16), dtype=np.uint8)
    alpha[:, 8:] = 255
    with Image.open(io.BytesIO(encode("jpeg", rgb, alpha))) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4
        pixels = np.asarray(image)
    assert pixels[:, :8].min() >= 253
    assert pixels[:, 8:].max() <= 2


def test_compositing_rounds_as_real_numbers_do() -> None:
    color, opacity = np.meshgrid(np.arange(256), np.arange(256))
    rgb = np.stack([color] * 3, axis=-1).astype(np.uint8)
    share = opacity[..., None] / 255
    expected = (rgb * share + 255 * (1 - share)).round().astype(np.uint8)
    assert np.array_equal(composite(rgb, opacity.astype(np.uint8)), expected)


def test_compositing_needs_little_beside_its_result() -> None:
    rgb, alpha = np.zeros((3000, 4000, 3), np.uint8), np.zeros((3000, 4000), np.uint8)
    tracemalloc.start()
    try:
        composite(rgb, alpha)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rgb.nbytes + 25_000_000


@pytest.mark.parametrize(("picture_format", "longest"), [("webp", 16_383), ("jpeg", 65_500)])
def test_what_a_format_cannot_hold_is_refused_with_the_way_out(
    picture_format: str, longest: int
) -> None:
    encode(picture_format, np.zeros((1, longest, 3), np.uint8))
    for shape in ((longest + 1, 1), (1, longest + 1)):
        with pytest.raises(ImageRejected, match="png and tiff") as refused:
            encode(picture_format, np.zeros((*shape, 3), np.uint8))
        assert refused.value.reason == "too large for the format"


def test_png_and_tiff_hold_any_size() -> None:
    for picture_format in _LOSSLESS:
        check_size(picture_format, 1, 70_000)
        encode(picture_format, np.zeros((1, 70_000, 3), np.uint8))
