"""The table of formats: what a file is by its content, and what is said of one that is not read."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image, features

from colorgan.errors import ImageRejected
from colorgan.images import formats
from colorgan.images.decoding import decode
from tests.images.tiffs import directory, tiff


def saved(container: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(buffer, container)
    return buffer.getvalue()


def media(*brands: bytes) -> bytes:
    content = brands[0] + bytes(4) + b"".join(brands[1:])
    return struct.pack(">I", len(content) + 8) + b"ftyp" + content


def raw(make: bytes, **tags: object) -> bytes:
    preview = directory(np.zeros((2, 2), "u1"), t254=1)
    sensor = directory(np.zeros((4, 4), "<u2"), **{"photometric": 32803, **tags})
    preview[0][271] = (1, make + b"\0")
    return tiff(preview, sensor)


def dng() -> bytes:
    tags, strip = directory(np.zeros((4, 4), "u1"), t254=1)
    return tiff(({**tags, 50706: (1, [1, 4, 0, 0])}, strip))


REFUSED = {
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20),
    "JPEG 2000 stream": b"\xff\x4f\xff\x51\0\x2f" + bytes(20),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20),
    "JPEG XL stream": b"\xff\x0a" + bytes(20),
    "JPEG-LS": b"\xff\xd8\xff\xf7" + bytes(20),
    "PSD": b"8BPS\0\x01" + bytes(20),
    "PDF": b"%PDF-1.7\n",
    "PostScript": saved("EPS"),
    "SVG": b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "Netpbm": saved("PPM"),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(20),
    "ICO": saved("ICO"),
    "TGA": bytes(30) + b"TRUEVISION-XFILE.\0",
    "DICOM": bytes(128) + b"DICM",
    "BLP": b"BLP1" + bytes(156) + saved("JPEG"),
    "MPEG-4 video": media(b"isom", b"mp42"),
    "DNG": dng(),
    "CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(20),
    "CR3": media(b"crx ", b"isom"),
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + bytes(20),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(20),
    "ORF": b"IIRO\x08\0\0\0" + bytes(20),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(20),
    "NEF": raw(b"NIKON CORPORATION"),
    "ARW": raw(b"SONY"),
    "PEF": raw(b"PENTAX Corporation"),
    "SRW": raw(b"SAMSUNG"),
    "camera raw": raw(b"Somebody"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ImageRejected) as rejected:
        decode(REFUSED[name])
    assert rejected.value.reason == "unsupported format"
    assert name.removesuffix(" stream") in rejected.value.detail
    assert "save" in rejected.value.detail


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_what_can_be_read_is_identified(container: str) -> None:
    if container == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow knows no AVIF")
    found = formats.identify(saved(container))
    assert found is not None
    assert found.name.upper() == container
    assert found.readable
    assert formats.by_media_type(found.media_types[0]) is found
    assert decode(saved(container)).rgb.shape == (16, 16, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"This is a text about a photograph.\n" * 50,
        b"BMW and other cars, in a text that begins like a bitmap",
        b"<!doctype html><html><body><svg></svg></body></html>",
        b"<?xml version='1.0'?><rss/>",
        bytes(4096),
    ],
    ids=["line end", "text", "bmw", "html", "xml", "zeros"],
)
def test_what_is_no_picture_has_no_format(data: bytes) -> None:
    assert formats.identify(data) is None
    with pytest.raises(ImageRejected, match="not an image"):
        decode(data)


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(ImageRejected) as rejected:
        decode(b"")
    assert rejected.value.reason == "empty"


def test_no_two_formats_share_a_name_or_media_type() -> None:
    names = [each.name for each in formats.FORMATS]
    types = [media_type for each in formats.FORMATS for media_type in each.media_types]
    assert len(set(names)) == len(names)
    assert len(set(types)) == len(types)


def test_heic_opens_with_its_extra_and_is_refused_with_its_name_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    half = Image.new("RGB", (64, 48), (200, 30, 30))
    half.paste((20, 40, 180), (0, 0, 32, 48))
    pillow_heif.from_pillow(half).save(buffer, quality=95)
    rgb = decode(buffer.getvalue()).rgb
    assert rgb.shape == (48, 64, 3)
    assert np.abs(rgb[24, [8, 56]] - np.array([[20, 40, 180], [200, 30, 30]])).max() <= 12
    # What the import system says where a package is not installed.
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ImageRejected, match=r"HEIC.*pip install 'colorgan\[heif\]'") as rejected:
        decode(buffer.getvalue())
    assert rejected.value.reason == "unsupported format"
    assert "HEIC" not in formats.readable_names()


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        ((b"heic", b"mif1", b"heic"), "HEIC"),
        ((b"mif1", b"mif1", b"heic"), "HEIC"),
        ((b"mif1", b"mif1", b"avif"), "AVIF"),
        ((b"avif", b"mif1", b"miaf"), "AVIF"),
        ((b"msf1", b"hevc"), "HEIC"),
    ],
)
def test_the_brands_tell_heic_from_avif(brands: tuple[bytes, ...], name: str) -> None:
    assert str(formats.identify(media(*brands))) == name


@pytest.mark.parametrize("container", ["HEIC", "AVIF"])
def test_the_photograph_of_a_telephone_is_turned_upright(container: str) -> None:
    half = Image.new("RGB", (96, 64))
    half.paste((250, 0, 0), (0, 0, 48, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    if container == "HEIC":
        opened = pytest.importorskip("pillow_heif").from_pillow(half)
        opened.info["exif"] = exif.tobytes()
        opened.save(buffer, quality=95)
    elif features.check("avif"):
        half.save(buffer, "AVIF", exif=exif)
    else:
        pytest.skip("this Pillow knows no AVIF")
    rgb = decode(buffer.getvalue()).rgb
    assert rgb.shape == (96, 64, 3)
    assert rgb[10, 32, 0] > 230
    assert rgb[-10, 32, 0] < 20
