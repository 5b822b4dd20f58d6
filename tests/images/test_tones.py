"""What the values of a file mean: profiles of gray, the gamma of PNG, transparency."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from colorgan.images.decoding import decode
from tests.images.tiffs import one

UNIT = np.tile(np.array([0.25, 0.25, 0.75, 0.75]), (4, 1))
PLAIN, LIGHT = (64, 191), (137, 225)  # UNIT as levels of sRGB, and as linear light in sRGB
KINDS = {"gray": 0, "rgb": 2, "palette": 3, "gray+alpha": 4, "rgb+alpha": 6}


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(kind: str, depth: int, *extra: bytes) -> bytes:
    """UNIT as a PNG of 8 or 16 bits, opaque; `extra` are chunks before the pixels."""
    top = 255 if kind == "palette" or depth == 8 else 65_535
    gray = (UNIT * top).round()
    planes = {"gray": [gray], "rgb": [gray] * 3, "gray+alpha": [gray, np.full_like(gray, top)]}
    planes |= {"rgb+alpha": [gray] * 3 + [np.full_like(gray, top)], "palette": [gray]}
    pixels = np.stack(planes[kind], axis=-1).astype(">u2" if top > 255 else "u1")
    header = struct.pack(">IIBBBBB", 4, 4, depth, KINDS[kind], 0, 0, 0)
    colors = chunk(b"PLTE", bytes(v for v in range(256) for _ in range(3)))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(each for each in extra if each[4:8] != b"tRNS"),
            *([colors] if kind == "palette" else []),
            *(each for each in extra if each[4:8] == b"tRNS"),
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))),
            chunk(b"IEND", b""),
        )
    )


def profile(model: bytes = b"GRAY", padding: int = 0) -> bytes:
    """An ICC profile of one gray channel, or of the primaries of sRGB, in linear light."""
    linear = b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": white, b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(80)}
    if model == b"GRAY":
        tags[b"kTRC"] = linear
    else:
        primaries = ((28578, 14581, 912), (25241, 46982, 6362), (9376, 3972, 46799))
        for name, values in zip((b"r", b"g", b"b"), primaries, strict=True):
            tags[name + b"XYZ"] = b"XYZ " + bytes(4) + struct.pack(">3i", *values)
            tags[name + b"TRC"] = linear
    if padding:
        tags[b"priv"] = b"data" + bytes(padding)
    body, table = b"", struct.pack(">I", len(tags))
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = bytearray(128)
    struct.pack_into(">I", head, 0, 132 + 12 * len(tags) + len(body))
    struct.pack_into(">I", head, 8, 0x02400000)
    head[12:24] = b"mntr" + model + b"XYZ "
    struct.pack_into(">6H", head, 24, 2020, 1, 1, 0, 0, 0)
    head[36:40] = b"acsp"
    struct.pack_into(">3i", head, 68, 63190, 65536, 54061)
    return bytes(head) + table + body


def embedded(content: bytes) -> bytes:
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(content))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def shown(data: bytes) -> tuple[int, int]:
    rgb = decode(data).rgb
    return int(rgb[1, 1, 1]), int(rgb[1, -1, 1])


def close(found: tuple[int, int], expected: tuple[int, int]) -> bool:
    return all(abs(one - other) <= 2 for one, other in zip(found, expected, strict=True))


EVERY = [(kind, depth) for kind in KINDS for depth in (8, 16) if (kind, depth) != ("palette", 16)]


@pytest.mark.parametrize(("kind", "depth"), EVERY)
def test_a_profile_of_gray_is_applied_to_every_gray_picture(kind: str, depth: int) -> None:
    photograph = decode(png(kind, depth, embedded(profile())))
    assert close(shown(png(kind, depth, embedded(profile()))), LIGHT)
    assert (photograph.alpha is not None) == kind.endswith("alpha")


@pytest.mark.parametrize(("kind", "depth"), EVERY)
def test_a_profile_of_colours_is_applied_to_colours(kind: str, depth: int) -> None:
    expected = PLAIN if kind.startswith("gray") else LIGHT
    found = shown(png(kind, depth, embedded(profile(b"RGB "))))
    # Gray with alpha of 16 bits reaches Pillow as colours.
    assert close(found, expected) or (kind == "gray+alpha" and close(found, LIGHT))


@pytest.mark.parametrize(("kind", "depth"), EVERY)
def test_gamma_is_applied_to_every_picture(kind: str, depth: int) -> None:
    assert close(shown(png(kind, depth, gama(1.0))), LIGHT)
    assert close(shown(png(kind, depth, gama(0.45455))), PLAIN)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([gama(1.0), chunk(b"sRGB", b"\0")], PLAIN),
        ([gama(0.45455), embedded(profile())], LIGHT),
        ([gama(1.0), embedded(b"no profile at all")], LIGHT),
        ([gama(1.0), chunk(b"cICP", b"\1\x0d\0\1")], PLAIN),
        ([embedded(profile()), chunk(b"cICP", b"\1\x0d\0\1")], LIGHT),
        ([gama(0.0)], PLAIN),
        ([gama(1000.0)], PLAIN),
    ],
    ids=["sRGB", "iCCP", "bad iCCP", "cICP", "cICP of sRGB", "zero", "huge"],
)
def test_what_outranks_gamma(chunks: list[bytes], expected: tuple[int, int]) -> None:
    assert close(shown(png("gray", 8, *chunks)), expected)


def test_the_colours_of_another_space_are_said_to_be_left_alone() -> None:
    photograph = decode(png("rgb", 8, chunk(b"cICP", b"\x09\x10\0\1")))
    assert "cICP" in photograph.notes[0]


@pytest.mark.parametrize("container", ["JPEG", "WEBP", "TIFF"])
def test_a_profile_of_gray_in_other_containers(container: str) -> None:
    buffer = io.BytesIO()
    pixels = np.repeat(np.repeat((UNIT * 255).round().astype(np.uint8), 8, 0), 8, 1)
    Image.fromarray(pixels).save(buffer, container, icc_profile=profile(), quality=100)
    rgb = decode(buffer.getvalue()).rgb
    assert close((int(rgb[16, 4, 0]), int(rgb[16, 28, 0])), LIGHT)


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
def test_a_profile_of_gray_in_a_tiff(dtype: str) -> None:
    top = {"u1": 255, "<u2": 65_535, "<f4": 1}[dtype]
    values = (UNIT * top).astype(dtype)
    assert close(shown(one(values, t34675=profile())), LIGHT)


def low(depth: int, *extra: bytes) -> bytes:
    """The gray levels 0 and all ones, side by side, in a PNG of few bits."""
    row = {1: 0b01000000, 2: 0b00110000, 4: 0b00001111}[depth]
    header = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes([0, row])))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + pixels


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_transparent_gray_of_few_bits(depth: int) -> None:
    for hidden, expected in ((0, [0, 255]), (2**depth - 1, [255, 0])):
        transparent = chunk(b"tRNS", struct.pack(">H", hidden))
        photograph = decode(low(depth, transparent) + chunk(b"IEND", b""))
        assert photograph.alpha is not None
        assert photograph.alpha.tolist() == [expected]
        assert photograph.rgb[0, :, 0].tolist() == [0, 255]


def test_a_transparent_gray_of_sixteen_bits() -> None:
    transparent = chunk(b"tRNS", struct.pack(">H", round(0.25 * 65_535)))
    photograph = decode(png("gray", 16, transparent))
    assert photograph.alpha is not None
    assert photograph.alpha[0].tolist() == [0, 0, 255, 255]
    assert close(shown(png("gray", 16, transparent)), PLAIN)


def test_a_palette_with_transparency_and_a_profile() -> None:
    transparent = chunk(b"tRNS", bytes([0] * 128 + [255] * 128))
    photograph = decode(png("palette", 8, embedded(profile(b"RGB ")), transparent))
    assert photograph.alpha is not None
    assert photograph.alpha[0].tolist() == [0, 0, 255, 255]
    assert abs(int(photograph.rgb[0, -1, 0]) - LIGHT[1]) <= 2


MUCH = b"a" * 1_200_000


@pytest.mark.parametrize(
    "long",
    [
        chunk(b"tEXt", b"Comment\0" + MUCH),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(MUCH)),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(MUCH)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + MUCH),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(MUCH)),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(MUCH)),
        b"".join(chunk(b"zTXt", b"Part\0\0" + zlib.compress(MUCH[:900_000])) for _ in range(90)),
    ],
    ids=["text", "compressed", "international", "XMP", "compressed XMP", "EXIF", "many"],
)
def test_long_text_does_not_stop_a_png(long: bytes) -> None:
    assert close(shown(png("gray", 8, long)), PLAIN)


def test_a_long_profile_is_applied() -> None:
    assert close(shown(png("gray", 8, embedded(profile(padding=3 << 20)))), LIGHT)


def test_a_profile_that_inflates_without_end_is_left_aside() -> None:
    assert close(shown(png("gray", 8, embedded(profile(padding=40 << 20)))), PLAIN)


def test_a_damaged_chunk_beside_the_picture_is_left_aside() -> None:
    damaged = bytearray(chunk(b"tIME", bytes(7)))
    damaged[-1] ^= 1
    assert close(shown(png("gray", 8, bytes(damaged), chunk(b"cHRM", b""))), PLAIN)


@pytest.mark.parametrize("lost", [1, 4, 8, 12, 14, 16])
def test_a_png_without_its_end_is_shown_and_said_so(lost: int) -> None:
    data = png("gray", 8)
    photograph = decode(data[:-lost])
    assert (photograph.rgb == decode(data).rgb).all()
    assert photograph.notes == ("the end of the file is missing",)


def test_lab_becomes_srgb() -> None:
    color = np.array([[[200, 40, 90], [10, 120, 60]]], np.uint8)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(color), srgb, lab, outputMode="LAB")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    found: Any = decode(buffer.getvalue()).rgb.astype(int)
    assert np.abs(found - color).max() <= 4
