"""Files that are odd, damaged at their ends or large: what is forgiven, and what is said of it."""

import io
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from colorgan.errors import ImageRejected
from colorgan.images.decoding import decode
from tests.images.tiffs import one
from tests.peak import PEAK


def picture(height: int = 120, width: int = 160) -> Image.Image:
    cells = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def saved(container: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, container, **options)
    return buffer.getvalue()


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "small restarts": {"restart_marker_blocks": 4},
    "not subsampled": {"subsampling": 0},
}


@pytest.mark.parametrize("lost", [1, 2, 3, 6])
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_its_last_bytes_is_shown_and_said_so(name: str, lost: int) -> None:
    data = saved("JPEG", **JPEGS[name])
    photograph = decode(data[:-lost])
    whole = decode(data)
    assert photograph.notes == ("the end of the file is missing",)
    assert not whole.notes
    different = (photograph.rgb != whole.rgb).any(axis=-1).mean()
    assert different == 0 if lost <= 2 else different <= 0.02


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_that_lost_more_is_truncated(mode: str, name: str, share: float) -> None:
    data = saved("JPEG", picture(240, 320).convert(mode), quality=95, **JPEGS[name])
    with pytest.raises(ImageRejected, match="truncated"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("container", ["JPEG", "PNG", "TIFF"])
def test_blanks_before_a_picture_are_skipped(container: str) -> None:
    data = saved(container)
    photograph = decode(b"\r\n\n" + data)
    assert (photograph.rgb == decode(data).rgb).all()
    assert photograph.notes == ("3 bytes before the picture were skipped",)


def test_a_jpeg_behind_another_header_is_found() -> None:
    data = saved("JPEG")
    header = bytes([0, 8]) + b"old.jpeg" + bytes(118)  # MacBinary has 128 bytes
    assert (decode(header + data).rgb == decode(data).rgb).all()


def test_text_that_holds_a_picture_far_behind_is_no_picture() -> None:
    with pytest.raises(ImageRejected, match="not an image"):
        decode(b"a container of another kind " * 10 + saved("JPEG"))


@pytest.mark.parametrize("container", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_what_follows_a_picture_is_left_aside(container: str) -> None:
    data = saved(container)
    assert (decode(data + b"and a word more" * 99).rgb == decode(data).rgb).all()


@pytest.mark.parametrize("container", ["PNG", "GIF", "WEBP", "AVIF"])
def test_a_film_is_animated(container: str) -> None:
    if container == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow knows no AVIF")
    other = picture().transpose(Image.Transpose.ROTATE_180)
    with pytest.raises(ImageRejected, match="animated") as rejected:
        decode(saved(container, save_all=True, append_images=[other]))
    assert rejected.value.reason == "animated"


@pytest.mark.parametrize("container", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_picture_of_one_pixel(container: str, mode: str) -> None:
    image = Image.new("RGB", (1, 1), (255, 255, 255)).convert(mode)
    if container == "WEBP":
        image = image.convert("RGB")
    assert decode(saved(container, image)).rgb.tolist() == [[[255] * 3]]


def without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee\0\x0eAdobe")
    return data[:at] + data[at + 16 :]


def test_cmyk_jpegs_are_inverted_with_and_without_the_marker_of_adobe() -> None:
    """As browsers and ImageMagick have it."""
    data = saved("JPEG", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=100)
    for each in (data, without_adobe(data)):
        assert np.abs(decode(each).rgb - np.array([255.0, 0, 0])).max() <= 3


def bitmap(header: int, bits: int, compression: int, pixels: bytes, height: int = 2) -> bytes:
    start = 14 + header + (12 if compression == 3 else 0)
    fields = [(2, 4), (height, 4), (1, 2), (bits, 2), (compression, 4), (len(pixels), 4)]
    body = b"".join(value.to_bytes(size, "little", signed=True) for value, size in fields)
    head = header.to_bytes(4, "little") + body
    masks = b"".join(m.to_bytes(4, "little") for m in (0xFF0, 0xF000, 0xF)) * (compression == 3)
    beginning = b"BM" + (start + len(pixels)).to_bytes(4, "little") + bytes(4)
    return beginning + start.to_bytes(4, "little") + head.ljust(header, b"\0") + masks + pixels


def test_a_bitmap_from_the_top_down() -> None:
    rows = bytes([1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0])
    upside = decode(bitmap(40, 24, 0, rows)).rgb
    assert upside[0].tolist() == [[9, 8, 7], [12, 11, 10]]
    assert (decode(bitmap(40, 24, 0, rows, height=-2)).rgb == upside[::-1]).all()


@pytest.mark.parametrize(
    ("header", "bits", "compression"),
    [(40, 2, 0), (40, 32, 3), (40, 24, 4), (40, 24, 6), (16, 24, 0), (40, 64, 0)],
    ids=["2 bits", "odd masks", "JPEG", "alpha masks", "short header", "64 bits"],
)
def test_an_odd_bitmap_is_refused_by_name(header: int, bits: int, compression: int) -> None:
    with pytest.raises(ImageRejected, match=r"BMP of an unusual kind.*save it as") as rejected:
        decode(bitmap(header, bits, compression, bytes(64)))
    assert rejected.value.reason == "unsupported format"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["<u2", ">f4", "<i4", "u1"])
def test_no_damage_to_a_deep_tiff_goes_unnamed(dtype: str) -> None:
    values = (np.random.default_rng(0).random((9, 10, 2)) * 100).astype(dtype)
    whole = one(values, t338=2)
    draw = random.Random(0)
    escaped = set()
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 2, 5))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            decode(bytes(data[: draw.randrange(len(data))] if draw.random() < 0.3 else data))
        except ImageRejected:
            pass
        except Exception as error:
            escaped.add(f"{type(error).__name__}: {error}")
    assert not escaped


DECODE = f"""{PEAK}
import io, sys
import numpy as np
from PIL import Image
from colorgan.images.decoding import decode
data = open(sys.argv[1], "rb").read()
before = peak()
assert decode(data).rgb.shape == (2000, 2500, 3)
print((peak() - before) / 1024)
"""


@pytest.mark.parametrize("kind", ["float TIFF", "12 bits", "double", "16-bit PNG", "JPEG"])
def test_a_large_picture_needs_little_memory(kind: str, tmp_path: Any) -> None:
    """At most 20 bytes a pixel beside the file: a gigabyte for 50 megapixels, the most allowed."""
    ramp = np.broadcast_to(np.linspace(0, 1, 2500, dtype=np.float32), (2000, 2500))
    match kind:
        case "float TIFF":
            data = one(ramp.astype("<f4"))
        case "double":
            data = one(ramp.astype("<f8"))
        case "12 bits":
            data = one(np.zeros((2000, 2500), "<u2"), bits=12, strip=bytes(2000 * 3750))
        case "16-bit PNG":
            deep = (ramp * 65_535).astype(np.uint16)
            data = saved("PNG", Image.fromarray(deep), compress_level=1)
        case _:
            data = saved("JPEG", Image.fromarray((ramp * 255).astype(np.uint8)))
    path = tmp_path / "large"
    path.write_bytes(data)
    found = subprocess.run(
        [sys.executable, "-c", DECODE, path], capture_output=True, text=True, check=True
    )
    assert float(found.stdout) * 2**20 <= 20 * 5e6 + len(data)
