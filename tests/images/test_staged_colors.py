"""What staging asks of a photograph's colours, as pixels or as a picture of Pillow's."""

import io

import numpy as np
import pytest
from PIL import Image

from colorgan.images.decoding import (
    content_hash,
    decode,
    decode_colors,
    encode_jpeg,
    is_grayscale,
    resize_short_side,
    shrink,
)
from tests.images.test_decoding import save, smooth


# Around 40 of the thumbnail's 64 x 64 pixels, which are less than 1 %, wherever they are.
@pytest.mark.parametrize(("pixels", "grayscale"), [(40, True), (41, False)])
@pytest.mark.parametrize("top", [0, 23, 24, 32, 39, 40, 63])
@pytest.mark.parametrize("scale", [1, 5])
def test_colour_counts_the_same_wherever_it_is(
    top: int, pixels: int, grayscale: bool, scale: int
) -> None:
    thumbnail = np.full((64, 64, 3), 90, np.uint8)
    thumbnail[top, :pixels] = (90, 90, 120)
    photograph = thumbnail.repeat(scale, 0).repeat(scale, 1)
    assert is_grayscale(photograph) == grayscale
    assert is_grayscale(Image.fromarray(photograph)) == grayscale


@pytest.mark.parametrize("size", [(107, 116), (246, 406), (375, 500), (64, 64), (1, 90)])
@pytest.mark.parametrize("spread", [8, 11, 12, 13, 14, 16, 20, 40])
def test_whether_there_is_colour_is_what_the_whole_thumbnail_says(
    size: tuple[int, int], spread: int
) -> None:
    noise = np.random.default_rng(spread).integers(-20, 21, (*size, 3))
    photograph = (np.array([100, 100 + spread, 100]) + noise).clip(0, 255).astype(np.uint8)
    thumbnail = Image.fromarray(photograph).resize((64, 64), Image.Resampling.BOX)
    levels = np.asarray(thumbnail, dtype=int)
    share = (levels.max(axis=-1) - levels.min(axis=-1) > 12).mean()
    assert is_grayscale(photograph) == (share < 0.01)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_colours_alone_are_those_of_the_photograph(kind: str) -> None:
    data = save(smooth(), kind)
    colors = decode_colors(data)
    np.testing.assert_array_equal(np.asarray(colors), decode(data).rgb)
    assert content_hash(colors) == content_hash(decode(data).rgb)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_the_colours_alone_are_rgb_and_carry_nothing_of_the_file(mode: str) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(smooth()).convert(mode)
    picture.save(file, "PNG", dpi=(300, 300))
    colors = decode_colors(file.getvalue())
    assert (colors.mode, colors.info) == ("RGB", {})
    np.testing.assert_array_equal(np.asarray(colors), decode(file.getvalue()).rgb)


def test_the_comment_of_a_file_is_not_saved_with_its_colours() -> None:
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, "JPEG", comment="Taken by somebody", dpi=(300, 300))
    colors = decode_colors(file.getvalue())
    assert encode_jpeg(colors) == encode_jpeg(decode(file.getvalue()).rgb)
    assert b"somebody" not in encode_jpeg(colors)


def test_a_picture_and_its_pixels_are_shrunk_alike() -> None:
    pixels = smooth(300, 401)
    shrunk = shrink(Image.fromarray(pixels), 128)
    np.testing.assert_array_equal(np.asarray(shrunk), resize_short_side(pixels, 128))
    assert shrunk.size == (171, 128)
