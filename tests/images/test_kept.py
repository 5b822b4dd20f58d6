"""What a colouring keeps of its photograph's file: docs/formats.md is held to what is written."""

import io
import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from colorgan.errors import ConfigError
from colorgan.images.decoding import decode
from colorgan.images.encoding import PICTURE_FORMATS, SUFFIXES
from colorgan.images.metadata import photoshop_iptc, read_metadata, trimmed_iptc
from colorgan.images.tags import read_exif
from colorgan.images.tones import srgb_profile
from colorgan.images.writing import OutputOptions, read_original, write_colored
from colorgan.images.xmp import clean_xmp
from tests.conftest import CHECKOUT
from tests.images import annotated
from tests.images.annotated import SOURCES, photograph, told

FORMATS = {"PNG": "png", "JPEG": "jpeg", "WebP": "webp", "TIFF": "tiff", "AVIF": "avif"}


def table() -> dict[tuple[str, str], set[str]]:
    """The table of docs/formats.md: what is kept, by source and output."""
    text = (CHECKOUT / "docs" / "formats.md").read_text().partition("| from \\ to |")[2]
    heads, _, *rows = ("| from \\ to |" + text).split("\n\n")[0].splitlines()
    outputs = [cell.strip() for cell in heads.strip("|").split("|")][1:]
    cells = {}
    for row in rows:
        source, *kept = (cell.strip() for cell in row.strip("|").split("|"))
        cells |= {
            (source, output): set(each.split()) for output, each in zip(outputs, kept, strict=True)
        }
    return cells


def colored(data: bytes, output: str, **options: object) -> bytes:
    """A colouring of a file that is neutral gray."""
    chosen = OutputOptions(output, **options)  # type: ignore[arg-type]
    original = read_original(data, chosen)
    whole = original.photograph

    def coloring(deep: np.ndarray | None) -> list[np.ndarray]:
        return [whole.rgb if deep is None else np.repeat(deep[..., None], 3, axis=2)]

    return write_colored(coloring, original, chosen).data


@pytest.fixture(scope="module")
def pictures() -> dict[tuple[str, str, bool], bytes]:
    """A colouring of each source in each format, without and with the place."""
    return {
        (source, output, gps): colored(data, FORMATS[output], gps=gps)
        for source in SOURCES
        for data in [photograph(source)]
        for output in FORMATS
        for gps in (False, True)
    }


def test_the_table_has_every_pair() -> None:
    assert table().keys() == {(source, output) for source in SOURCES for output in FORMATS}
    assert {*FORMATS.values()} == {*PICTURE_FORMATS}


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_pillow_reads_what_the_table_says(
    pictures: dict[tuple[str, str, bool], bytes], source: str, output: str
) -> None:
    found = told(pictures[source, output, False])
    kept = {
        "EXIF": (found["description"], found["model"], found["date"])
        == (annotated.DESCRIPTION, "Leica III", annotated.DATE),
        "IPTC": found["caption"] == annotated.CAPTION.encode(),
        "XMP": found["title"],
        "dpi": found["dpi"] == annotated.DPI,
        "ICC": found["profile"] == srgb_profile(),
    }
    assert {name for name, is_kept in kept.items() if is_kept} == table()[source, output]
    assert found["orientation"] in ((None, 1) if output == "AVIF" else (1,))
    assert (found["stated width"], found["color space"]) == (60, 1)
    assert found["maker notes"] is None
    assert b"Orientation" not in found["xmp"]
    assert found["latitude"] is None
    assert not re.search(b"gps", found["xmp"], re.IGNORECASE)
    place = told(pictures[source, output, True])
    assert place["latitude"] == (annotated.GPS, 30, 0)
    assert len(re.findall(b"(?i)gpsl", place["xmp"])) == 4


@pytest.fixture(scope="module")
def read_by_exiftool(
    pictures: dict[tuple[str, str, bool], bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, object]]:
    """What ExifTool reads in every colouring, by its file's name."""
    if not shutil.which("exiftool"):
        pytest.skip("ExifTool is not installed (Debian's libimage-exiftool-perl)")
    folder = tmp_path_factory.mktemp("colourings")
    for (source, output, gps), data in pictures.items():
        suffix = SUFFIXES[FORMATS[output]][0]
        (folder / f"{source}-{output}-{gps}{suffix}").write_bytes(data)
    command = ("exiftool", "-json", "-a", "-G1", "-n", "-warning", "-all", str(folder))
    done = subprocess.run(command, capture_output=True, check=True)
    return {Path(each["SourceFile"]).stem: each for each in json.loads(done.stdout)}


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_exiftool_reads_what_the_table_says(
    read_by_exiftool: dict[str, dict[str, object]], source: str, output: str
) -> None:
    found = read_by_exiftool[f"{source}-{output}-False"]
    assert "ExifTool:Warning" not in found
    kept = {
        "EXIF": [found.get(f"IFD0:{name}") for name in ("ImageDescription", "Model")]
        + [found.get("ExifIFD:DateTimeOriginal")]
        == [annotated.DESCRIPTION, "Leica III", annotated.DATE],
        "IPTC": found.get("IPTC:Caption-Abstract") == annotated.CAPTION,
        "XMP": found.get("XMP-dc:Title") == "Zürich & See",
        "dpi": (found.get("IFD0:XResolution"), found.get("IFD0:YResolution")) == annotated.DPI,
        "ICC": str(found.get("ICC_Profile:ProfileDescription")).startswith("sRGB"),
    }
    assert {name for name, is_kept in kept.items() if is_kept} == table()[source, output]
    assert not [name for name in found if "gps" in name.lower()]
    place = read_by_exiftool[f"{source}-{output}-True"]
    assert place["GPS:GPSLatitude"] == pytest.approx(47.5)


@pytest.mark.parametrize("output", FORMATS.values())
def test_nothing_is_kept_where_nothing_is_to_be(output: str) -> None:
    found = told(colored(photograph("TIFF"), output, metadata=False))
    assert found["description"] == ""
    assert (found["caption"], found["xmp"], found["profile"]) == (b"", b"", b"")
    assert found["dpi"] == (None, None)


@pytest.mark.parametrize("output", FORMATS.values())
@pytest.mark.parametrize("source", ["JPEG", "TIFF", "PNG", "WebP"])
def test_a_turned_photograph_says_that_it_is_upright(source: str, output: str) -> None:
    data = photograph(source, orientation=6)
    found = told(colored(data, output))
    assert found["size"] == (40, 60)
    assert found["orientation"] in ((None, 1) if output == "avif" else (1,))
    assert found["dpi"] == annotated.DPI[::-1]
    assert found["stated width"] == 40


@pytest.mark.parametrize("output", ["jpeg", "tiff"])
def test_colours_go_back_to_the_photographs_own_profile(output: str) -> None:
    data = photograph("TIFF")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(annotated.RGB_PROFILE))
    with Image.open(io.BytesIO(colored(data, output, profile=True, quality=None))) as image:
        assert image.info["icc_profile"] == annotated.RGB_PROFILE
        assert image.getexif().get_ifd(34665)[40961] == 65535  # uncalibrated
        ours = np.asarray(image)
        shown = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    assert np.abs(ours.astype(int) - np.asarray(Image.open(io.BytesIO(data)))).max() <= 2
    assert np.abs(np.asarray(shown).astype(int) - decode(data).rgb).max() <= 2


def test_a_profile_of_gray_cannot_be_that_of_a_colouring() -> None:
    options = OutputOptions("jpeg", profile=True)
    original = read_original(photograph("JPEG", profile=annotated.GRAY_PROFILE), options)
    written = write_colored(lambda deep: [original.photograph.rgb], original, options)
    assert "not one of RGB" in "; ".join(written.notes)
    assert told(written.data)["profile"] == srgb_profile()


def test_long_iptc_continues_in_the_next_segment_and_what_is_too_long_is_said() -> None:
    records = annotated.IPTC + b"".join(
        annotated.record(25, b"keyword %5d" % number) for number in range(9000)
    )
    head = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(records))
    options = OutputOptions("jpeg")
    original = read_original(photograph("TIFF"), options)
    long = replace(original.metadata, iptc=records, xmp=annotated.xmp() + b" " * 70_000)
    assert photoshop_iptc(head + records) == records
    whole = replace(original, metadata=long)
    written = write_colored(lambda deep: [original.photograph.rgb], whole, options)
    with Image.open(io.BytesIO(written.data)) as image:
        assert image.size == (60, 40)
    assert read_metadata(written.data).iptc == records
    assert told(written.data)["title"], "the spaces at its end are not kept"
    stuffed = annotated.xmp().replace(b"&amp; See", b"&amp; See" + b"!" * 70_000)
    whole = replace(original, metadata=replace(original.metadata, xmp=stuffed))
    written = write_colored(lambda deep: [original.photograph.rgb], whole, options)
    assert written.notes == ("its XMP is too long for a JPEG and was not kept",)


def test_damaged_metadata_is_left_out_and_never_an_error() -> None:
    block = annotated.exif()
    for end in range(0, len(block), 7):
        read_exif(block[:end]).describing(3, 2, True, None).to_exif()
        flipped = bytearray(block)
        flipped[end : end + 4] = b"\xff\xff\xff\xff"
        read_exif(bytes(flipped)).describing(3, 2, True, None).to_exif()
    for end in range(0, len(annotated.IPTC) * 2, 3):
        trimmed_iptc((annotated.IPTC * 2)[:end])
        photoshop_iptc(b"8BIM\4\4\0\0\0\0\0\x99" + annotated.IPTC[:end])
    deep = b"<a>" * 5000 + b"</a>" * 5000
    long = b"<a>" + b" " * 5_000_000 + b"</a>"
    for packet in (b"", b"<", annotated.xmp()[:-80], b"<!DOCTYPE a><a/>", b"\xff\xfe<", deep, long):
        assert clean_xmp(packet, True) is None
    absurd = photograph("TIFF").replace(
        struct.pack(">II", 600, 1), struct.pack(">II", 2**32 - 1, 7)
    )
    assert read_metadata(absurd).dpi is None
    assert told(colored(absurd, "jpeg"))["description"] == annotated.DESCRIPTION
    damaged = photograph("JPEG").replace(b"</rdf:RDF>", b"</rdf:RDX>")
    options = OutputOptions("png")
    original = read_original(damaged, options)
    written = write_colored(lambda deep: [original.photograph.rgb], original, options)
    assert written.notes == ("its XMP cannot be read and was not kept",)
    assert told(written.data)["description"] == annotated.DESCRIPTION


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quality": 0}, "between 1 and 100"),
        ({"picture_format": "jpeg", "quality": 101}, "between 1 and 100"),
        ({"picture_format": "tiff", "quality": 90}, "tiff keeps every pixel"),
        ({"max_pixels": 0}, "--max-pixels"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OutputOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("output", ["jpeg", "webp", "avif"])
def test_the_quality_is_the_users(output: str) -> None:
    data = photograph("PNG")
    sizes = [len(colored(data, output, quality=each, metadata=False)) for each in (20, 60, 98)]
    assert sizes == sorted({*sizes})
    if output == "jpeg":
        with Image.open(io.BytesIO(colored(data, output, quality=50))) as image:
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
