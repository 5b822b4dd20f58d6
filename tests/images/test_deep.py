"""Sixteen bits: a print that was scanned with them keeps its lightness in a TIFF."""

import io
import json
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from skimage.color import lab2rgb, rgb2lab

from colorgan.images import lab, tiff_writing
from colorgan.images.decoding import decode
from colorgan.images.tags import Tags, read_exif
from colorgan.images.tiff_writing import write_tiff
from colorgan.images.tones import deep_gray_table, deep_lightness, gray_table, srgb_profile
from colorgan.images.writing import OutputOptions, read_original, write_colored
from colorgan.inference.colorizer import recombined_strips
from tests.images import annotated
from tests.images.annotated import told


def samples(height: int = 120, width: int = 160) -> np.ndarray:
    """Gray with 16 bits, from black to white, (height, width) uint16."""
    noise = np.random.default_rng(0).normal(0, 0.02, (height, width))
    tones = annotated.pixels(height, width) * 1.1 - 0.05 + noise
    return (tones.clip(0, 1) * 65535).astype(np.uint16)


def lightness(levels: np.ndarray, gamma: float) -> np.ndarray:
    """L of CIE Lab of gray levels encoded with a gamma, by its definition."""
    y = (levels / 65535) ** gamma
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


def colors(scale: float = 1.0) -> torch.Tensor:
    """Strong colours, many of them outside the gamut, as a network writes them."""
    a, b = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    return torch.stack([a, b]) * scale


def colored(data: bytes, space: lab.ColorSpace = "lab", **options: object) -> bytes:
    chosen = OutputOptions("tiff", **options)  # type: ignore[arg-type]
    original = read_original(data, chosen)

    def coloring(deep: np.ndarray | None) -> Iterator[np.ndarray]:
        return recombined_strips(original.photograph.rgb, colors(), space, deep=deep)

    return write_colored(coloring, original, chosen).data


def levels_of(data: bytes) -> np.ndarray:
    return np.asarray(imagecodecs.tiff_decode(data))


SCANS = {
    "gray": (annotated.GRAY_PROFILE, 2.2),
    "rgb": (annotated.RGB_PROFILE, 563 / 256),
}


@pytest.mark.parametrize("kind", SCANS)
def test_a_scan_of_16_bits_comes_back_as_one_with_all_that_it_says(
    kind: str, tmp_path: Path
) -> None:
    profile, gamma = SCANS[kind]
    gray = samples()
    scan = gray if kind == "gray" else np.repeat(gray[..., None], 3, axis=2)
    data = annotated.tiff(scan, profile=profile).replace(
        (300).to_bytes(4, "big") + (1).to_bytes(4, "big"),
        (600).to_bytes(4, "big") + (1).to_bytes(4, "big"),
    )
    result = colored(data)
    pixels = levels_of(result)
    assert (pixels.dtype, pixels.shape) == (np.uint16, (120, 160, 3))
    channels = rgb2lab(pixels / 65535)
    assert np.abs(channels[..., 1:]).mean() > 10, "it is coloured"
    assert np.abs(channels[..., 0] - lightness(gray, gamma)).max() < 0.05

    found = told(result)
    assert (found["description"], found["date"]) == (annotated.DESCRIPTION, annotated.DATE)
    assert (found["caption"], found["title"]) == (annotated.CAPTION.encode(), True)
    assert (found["dpi"], found["profile"]) == ((600, 600), srgb_profile())
    with Image.open(io.BytesIO(result)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert image.tag_v2[258] == (16, 16, 16)

    if not shutil.which("exiftool"):
        pytest.skip("ExifTool is not installed (Debian's libimage-exiftool-perl)")
    (tmp_path / "out.tif").write_bytes(result)
    command = ("exiftool", "-json", "-a", "-G1", "-n", str(tmp_path / "out.tif"))
    done = subprocess.run(command, capture_output=True, check=True)
    (read,) = json.loads(done.stdout)
    assert "ExifTool:Warning" not in read
    expected = {
        "IFD0:BitsPerSample": "16 16 16",
        "IFD0:ImageDescription": annotated.DESCRIPTION,
        "IFD0:XResolution": 600,
        "IFD0:YResolution": 600,
        "IFD0:Orientation": 1,
        "ExifIFD:DateTimeOriginal": annotated.DATE,
        "IPTC:Caption-Abstract": annotated.CAPTION,
        "XMP-dc:Title": "Zürich & See",
        "ICC_Profile:ProfileDescription": "sRGB built-in",
    }
    assert {name: read.get(name) for name in expected} == expected


def test_colours_of_16_bits_go_back_to_the_scans_own_profile() -> None:
    scan = np.repeat(samples()[..., None], 3, axis=2)
    data = annotated.tiff(scan, profile=annotated.RGB_PROFILE)
    ours, plain = (levels_of(colored(data, profile=each)) for each in (True, False))
    assert ours.dtype == np.uint16
    back = imagecodecs.cms_transform(
        *(ours, annotated.RGB_PROFILE, srgb_profile()),
        colorspace="rgb",
        outcolorspace="rgb",
        outdtype="uint16",
        flags=0x100,
    )
    # Both profiles' tables are steep near black.
    assert np.abs(back.astype(int) - plain).mean() < 2


@pytest.mark.parametrize("space", ["yuv", "rgb"])
def test_other_colour_spaces_write_what_depth_they_have(space: lab.ColorSpace) -> None:
    scan, three = samples(), colors() if space == "yuv" else torch.zeros(3, 8, 8)
    out = np.concatenate(
        list(recombined_strips(np.zeros((120, 160, 3), np.uint8), three, space, 0.0, deep=scan))
    )
    if space == "rgb":
        assert out.dtype == np.uint8
    else:
        assert np.abs(out[..., 1].astype(int) - scan).max() <= 1


def test_every_file_of_more_than_8_bits_is_read_with_16() -> None:
    gray = samples()
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "PNG")
    photograph = decode(buffer.getvalue(), deep=True)
    assert photograph.deep is not None
    assert np.array_equal(photograph.deep, gray)
    for scan in (gray, np.repeat(gray[..., None], 3, axis=2)):
        photograph = decode(annotated.tiff(scan, orientation=6, profile=b""), deep=True)
        assert photograph.deep is not None
        assert np.abs(photograph.deep.astype(int) - np.rot90(gray, -1)).max() <= 1
        assert np.abs(photograph.deep / 257 - photograph.rgb[..., 1]).max() <= 0.51
        assert decode(annotated.tiff(scan)).deep is None, "only if it is asked for"
    eight = annotated.tiff((gray >> 8).astype(np.uint8))
    assert decode(eight, deep=True).deep is None
    assert levels_of(colored(eight)).dtype == np.uint8


@pytest.mark.parametrize("profile", [b"", annotated.RGB_PROFILE, b"no profile"])
def test_16_bits_agree_with_8(profile: bytes) -> None:
    rgb = np.random.default_rng(1).integers(0, 65536, (50, 60, 3), dtype=np.uint16)
    expected = lab.lightness(decode(annotated.tiff(rgb, profile=profile)).rgb)
    found = rgb2lab(np.repeat(deep_lightness(rgb, profile)[..., None], 3, axis=2) / 65535)
    assert np.abs(found[..., 0] - 100 * expected).max() < 1


@pytest.mark.parametrize("profile", [None, annotated.GRAY_PROFILE])
@pytest.mark.parametrize("gamma", [None, 1.0])
def test_the_table_of_16_bits_agrees_with_that_of_8(
    profile: bytes | None, gamma: float | None
) -> None:
    deep = deep_gray_table(profile, gamma)
    assert (
        np.abs(deep / 257 - gray_table(profile, gamma)).max() <= 1.2
    )  # Pillow's is coarse in the dark
    assert (np.diff(deep.astype(int)) >= 0).all()


def test_colours_outside_the_gamut_lose_chroma_and_no_lightness() -> None:
    levels = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[:, None], 64, axis=1)
    angle = np.linspace(0, 2 * np.pi, 64, dtype=np.float32)
    ab = np.stack([np.cos(angle), np.sin(angle)])[:, None].repeat(64, axis=1)
    channels = rgb2lab(lab.recolor_deep(levels, ab) / 65535)
    gray = rgb2lab(np.repeat(levels[..., None], 3, axis=2) / 65535)
    assert np.abs(channels[..., 0] - gray[..., 0]).max() < 0.01
    assert np.hypot(*np.moveaxis(channels[..., 1:], -1, 0))[32].min() > 20
    # Inside the gamut a colour is what the network wrote.
    weak = lab.recolor_deep(levels[20:44], ab[:, 20:44] * np.float32(0.1))
    given = np.dstack([gray[20:44, :, :1], np.moveaxis(ab[:, 20:44], 0, -1) * 11])
    assert np.abs(weak / 65535 - lab2rgb(given)).max() < 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_holds_the_pixels_it_was_given(
    monkeypatch: pytest.MonkeyPatch, dtype: type, channels: int, order: str, big: bool
) -> None:
    if big:
        monkeypatch.setattr(tiff_writing, "_LARGEST", 1)
    monkeypatch.setattr(tiff_writing, "_STRIP_BYTES", 3000)
    top = np.iinfo(dtype).max + 1
    pixels = np.random.default_rng(2).integers(0, top, (101, 53, channels), dtype=dtype)
    cuts = np.split(pixels, [1, 2, 50, 99])
    data = write_tiff(cuts, (53, 101), read_exif(annotated.exif()) if order == ">" else Tags(), {})
    assert data[:4] == (b"II+\0" if big else b"II*\0" if order == "<" else b"MM\0*")
    if order == ">":
        assert told(data)["description"] == annotated.DESCRIPTION
        assert told(data)["dpi"] == annotated.DPI
        assert told(data)["latitude"] == (annotated.GPS, 30, 0)
    assert np.array_equal(imagecodecs.tiff_decode(data), pixels)
    again = decode(data, deep=True)
    if dtype is np.uint8:
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), pixels)
    else:
        assert again.deep is not None
    assert again.rgb.shape == (101, 53, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_limit_of_pixels_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch, channels: int, dtype: type
) -> None:
    shape = (40, 60) if channels == 1 else (40, 60, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # as if the picture were very large
    for orientation in (1, 6):
        data = annotated.tiff(np.full(shape, 77, dtype), orientation, profile=b"")
        assert (
            decode(data, max_pixels=2400).rgb.shape == ((60, 40, 3), (40, 60, 3))[orientation == 1]
        )


def test_a_large_picture_is_coloured_in_strips() -> None:
    height, width = 3000, 4000
    gray = np.broadcast_to(np.uint8(100), (height, width, 3))
    levels = np.full((height, width), 25_700, np.uint16)
    tracemalloc.start()
    try:
        strips = recombined_strips(gray, colors(0.1), "lab", deep=levels)
        assert len(write_tiff(strips, (width, height), Tags(), {})) < height * width
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < height * width * 3 * 6, "the whole picture in floats alone takes twice that"
