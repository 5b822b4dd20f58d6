"""TIFFs beyond 8 bits, odd layouts of their samples, and their pages."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colorgan.errors import ImageRejected
from colorgan.images.decoding import decode
from tests.images.tiffs import directory, one, packed, tiff, tiles

UNIT = np.tile(np.array([0.25, 0.25, 0.75, 0.75]), (4, 1))
LEFT, RIGHT = 64, 191  # of 255: what a viewer shows of UNIT


def scaled(top: float, dtype: str, unit: np.ndarray[Any, Any] = UNIT) -> np.ndarray[Any, Any]:
    return (unit * top).round().astype(dtype) if dtype[-2] in "ui" else (unit * top).astype(dtype)


def levels(data: bytes, **options: Any) -> tuple[int, int]:
    rgb = decode(data, **options).rgb
    assert (rgb[..., 0] == rgb[..., 1]).all()
    assert (rgb[..., 0] == rgb[..., 2]).all()
    return int(rgb[1, 1, 0]), int(rgb[1, -1, 0])


def close(found: tuple[int, int], expected: tuple[int, int] = (LEFT, RIGHT)) -> bool:
    return all(abs(one - other) <= 2 for one, other in zip(found, expected, strict=True))


# (what white is, the type of a sample)
DEEP = {
    "16 bits": (65_535, "u2"),
    "16 bits that hold 12": (4095, "u2"),
    "16 bits that hold 8": (255, "u2"),
    "32 bits": (2**32 - 1, "u4"),
    "32 bits that hold 16": (65_535, "u4"),
    "32 bits that hold 8": (255, "u4"),
    "signed 16 bits": (32_767, "i2"),
    "signed 32 bits that hold 8": (255, "i4"),
    "half": (1, "f2"),
    "float": (1, "f4"),
    "float that holds 8 bits": (255, "f4"),
    "float that holds 16 bits": (65_535, "f4"),
    "double": (1, "f8"),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1], ids=["white is zero", "black is zero"])
@pytest.mark.parametrize("name", DEEP)
def test_deep_gray_keeps_its_range_and_sense(name: str, photometric: int, order: str) -> None:
    top, kind = DEEP[name]
    ramp = np.where(
        np.arange(16).reshape(4, 4) == 3, 1.0, UNIT
    )  # white is there, as in photographs
    ramp[0, 0] = 0
    stored = scaled(top, order + kind, ramp if photometric else 1 - ramp)
    assert close(levels(one(stored, photometric)))


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1], ids=["white is zero", "black is zero"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_without_gaps(bits: int, photometric: int, order: str) -> None:
    top = 2**bits - 1
    values = (UNIT * top).round().astype(f"{order}u2")
    values[0, :2] = 0, top
    stored = values if photometric else top - values
    data = one(stored, photometric, bits=bits, strip=packed(stored, bits))
    expected = (round(int(values[1, 1]) * 255 / top), round(int(values[1, -1]) * 255 / top))
    assert close(levels(data), expected)


def test_twelve_bits_in_words_although_the_file_says_twelve() -> None:
    assert close(levels(one(scaled(4095, "<u2"), bits=12)))


def test_a_tag_of_all_ones_says_how_many_bits_are_used() -> None:
    fourteen = scaled(2**14 - 1, "<u2")
    assert close(levels(one(fourteen, t281=2**14 - 1)))
    # Another largest value is a statistic, which must not change what is shown.
    assert close(levels(one(scaled(65_535, "<u2"), t281=50_000)))
    assert close(levels(one(scaled(65_535, "<u2"), t281=255)))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_leaves_the_others(odd: float) -> None:
    stored = scaled(1, "<f4")
    stored[0, 0] = odd
    photograph = decode(one(stored))
    assert photograph.rgb[0, 0, 0] == (255 if odd > 0 else 0)
    assert close(levels(one(stored)))
    assert "not finite" in photograph.notes[0]


def test_highlights_above_white_do_not_darken_the_rest() -> None:
    stored = np.full((64, 64), 0.5, np.float32)
    stored[0, :3] = 9.0
    assert decode(one(stored)).rgb[1, 1, 0] == 128


COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("mode", ["I;16", "F", "I"])
def test_compressed_deep_gray(compression: str, mode: str) -> None:
    top = {"I;16": 65_535, "F": 1, "I": 65_535}[mode]
    dtype = {"I;16": "u2", "F": "f4", "I": "i4"}[mode]
    stored = Image.fromarray(np.tile(scaled(top, f"<{dtype}"), (100, 1)))
    buffer = io.BytesIO()
    try:
        stored.save(buffer, "TIFF", compression=compression, tiffinfo={278: 7})
    except OSError:
        pytest.skip(f"this libtiff knows no {compression}")
    assert close(levels(buffer.getvalue()))


def predicted(values: np.ndarray[Any, Any]) -> bytes:
    """Each sample as the difference to the one before it (predictor 2)."""
    return np.diff(values, axis=1, prepend=values.dtype.type(0)).astype(values.dtype).tobytes()


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<u4", "<i2"])
def test_differences_are_added_up(dtype: str) -> None:
    top = np.iinfo(dtype).max
    stored = scaled(top, dtype)
    assert close(levels(one(stored, strip=predicted(stored), t317=2)))


def test_the_bytes_of_floats_are_put_together_again() -> None:
    stored = np.tile(scaled(1, ">f4"), (1, 5))
    shuffled = stored.view(np.uint8).reshape(4, -1, 4).transpose(0, 2, 1).reshape(4, -1)
    steps = np.diff(shuffled, axis=1, prepend=np.uint8(0))
    rgb = decode(one(stored.astype("<f4"), strip=steps.astype(np.uint8).tobytes(), t317=3)).rgb
    assert close((int(rgb[0, 0, 0]), int(rgb[0, 3, 0])))
    assert (rgb == rgb[0]).all()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4"])
def test_tiles(dtype: str, compress: bool) -> None:
    top = 65_535 if dtype[1] == "u" else 1.0
    ramp = np.add.outer(np.arange(40), np.arange(37)) / 75
    rgb = decode(tiles(scaled(top, dtype, ramp), 16, compress=compress)).rgb
    assert np.abs(rgb[..., 0] - ramp * 255).max() <= 1


COLORS = np.zeros((4, 6, 3))
COLORS[:, :3], COLORS[:, 3:] = (0.25, 0.5, 0.75), (1.0, 0.75, 0.0)


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("kind", [(65_535, "<u2"), (65_535, ">u2"), (4095, "<u2"), (1, "<f4")])
def test_deep_colours(kind: tuple[int, str], planar: int) -> None:
    stored = scaled(*kind, COLORS)
    planes = [np.ascontiguousarray(stored[..., plane]).tobytes() for plane in range(3)]
    tags, _ = directory(stored, 2, t284=planar)
    order = ">" if kind[1][0] == ">" else "<"
    data = tiff((tags, b"".join(planes) if planar == 2 else stored.tobytes()), order=order)
    if planar == 2:
        data = with_planes(data, len(planes[0]), order)
    assert np.abs(decode(data).rgb - COLORS * 255).max() <= 1


def with_planes(data: bytes, size: int, order: str) -> bytes:
    """The same with a strip for each of three planes, where there was one strip for all."""
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    out = bytearray(data)
    for tag, values in ((273, [8, 8 + size, 8 + 2 * size]), (279, [size] * 3)):
        for place in range(start + 2, len(data) - 4, 12):
            if struct.unpack_from(f"{order}H", out, place)[0] == tag:
                struct.pack_into(f"{order}II", out, place + 4, 3, len(out))
                break
        out += struct.pack(f"{order}3I", *values)
    return bytes(out)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("extra", [1, 2], ids=["associated", "unassociated"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_gray_and_alpha(dtype: str, extra: int, photometric: int) -> None:
    top = np.iinfo(dtype).max
    alpha = np.full((4, 4), 0.5)
    alpha[0] = 1.0
    gray = UNIT if photometric else 1 - UNIT
    stored = np.stack([gray * alpha if extra == 1 else gray, alpha], axis=-1)
    photograph = decode(one((stored * top).round().astype(dtype), photometric, t338=extra))
    assert photograph.alpha is not None
    assert np.abs(photograph.alpha - alpha * 255).max() <= 1
    assert np.abs(photograph.rgb[..., 0] - UNIT * 255).max() <= 2


def test_a_channel_that_is_no_alpha_is_left_aside() -> None:
    infrared = np.stack([UNIT * 65_535, np.zeros((4, 4))], axis=-1).astype("<u2")
    photograph = decode(one(infrared, t338=0))
    assert photograph.alpha is None
    assert close(levels(one(infrared, t338=0)))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_deep_pages_are_turned_upright_once(dtype: str, compression: str | None) -> None:
    stored = scaled(np.iinfo(dtype).max, f"<{dtype}", np.add.outer(np.arange(3), np.arange(4)) / 5)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "TIFF", compression=compression, tiffinfo={274: 6})
    expected = np.rot90(stored, -1).astype(int) // (257 if dtype == "u2" else 1)
    assert np.abs(decode(buffer.getvalue()).rgb[..., 0] - expected).max() <= 1


SMALL = UNIT[:2, 1:3]


@pytest.mark.parametrize(
    "kind", [{"t254": 1}, {"t255": 2}, {"t254": 4}], ids=["new", "old", "mask"]
)
@pytest.mark.parametrize("first", [True, False], ids=["before it", "behind it"])
@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_a_smaller_copy_is_no_page(dtype: str, first: bool, kind: dict[str, int]) -> None:
    top = np.iinfo(dtype).max
    page = directory(scaled(top, dtype))
    copy = directory(scaled(top, dtype, 1 - SMALL), **kind)
    photograph = decode(tiff(copy, page) if first else tiff(page, copy))
    assert photograph.rgb.shape == (4, 4, 3)
    assert abs(int(photograph.rgb[1, 1, 0]) - LEFT) <= 1


def test_pages_are_counted_and_chosen() -> None:
    pages = tiff(
        directory(scaled(255, "u1")),
        directory(scaled(255, "u1", SMALL), t254=1),
        directory(scaled(65_535, "<u2", 1 - UNIT)),
    )
    with pytest.raises(ImageRejected) as rejected:
        decode(pages)
    assert rejected.value.reason == "several pages"
    assert "2 pages" in str(rejected.value)
    assert "--page N" in str(rejected.value)
    assert close(levels(pages, page=1))
    assert close(levels(pages, page=2), (RIGHT, LEFT))
    for page in (0, 3, -1):
        with pytest.raises(ImageRejected, match=rf"--page {page}\b.*2 pages"):
            decode(pages, page=page)


def test_the_only_page_of_any_file_is_page_one() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "PNG")
    for data in (one(scaled(255, "u1")), buffer.getvalue()):
        assert decode(data, page=1).rgb.shape
        with pytest.raises(ImageRejected, match="--page 2: the file has one page"):
            decode(data, page=2)


def test_a_chain_of_pages_that_bites_its_tail_ends() -> None:
    data = bytearray(one(scaled(255, "u1")))
    data[-4:] = data[4:8]
    assert close(levels(bytes(data)))


def test_a_compression_that_is_not_known_is_named() -> None:
    with pytest.raises(ImageRejected, match="TIFF compressed with JPEG XL") as rejected:
        decode(one(scaled(255, "u1"), t259=50_002))
    assert rejected.value.reason == "unsupported format"


def test_samples_are_counted_before_they_are_unpacked() -> None:
    stored = np.zeros((50, 50, 40), "<u2")
    with pytest.raises(ImageRejected) as rejected:
        decode(one(stored, t338=[0] * 39), max_pixels=2500)
    assert rejected.value.reason == "too many pixels"
