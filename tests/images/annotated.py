"""Photographs that say everything their formats have a place for, and what a file says."""

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, IptcImagePlugin, TiffImagePlugin

SOURCES = ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "HEIC")
DESCRIPTION = "Zürich, Hauptbahnhof"
CAPTION = "The station of Zürich"
DATE = "1936:08:01 10:30:00"
GPS = 47.0
DPI = (600, 300)
RGB_PROFILE = imagecodecs.cms_profile("adobergb")
GRAY_PROFILE = imagecodecs.cms_profile("gray", gamma=2.2)

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
  xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
  xmlns:drone="http://www.dji.com/drone-dji/1.0/"
  tiff:Orientation="ORIENTATION" exif:GPSLatitude="47,0N" drone:GpsLongitude="8.5">
<exif:GPSLongitude>8,30E</exif:GPSLongitude>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Zürich &amp; See</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
TITLE = "Zürich &amp; See".encode()


def record(number: int, text: bytes, group: int = 2) -> bytes:
    return struct.pack(">BBBH", 0x1C, group, number, len(text)) + text


IPTC = record(90, b"\x1b%G", 1) + record(120, CAPTION.encode()) + record(25, b"railway")


def xmp(orientation: int = 1) -> bytes:
    return _XMP.replace("ORIENTATION", str(orientation)).encode()


def _directory(entries: list[tuple[int, int, int, bytes]], offset: int) -> bytes:
    head, rest = struct.pack(">H", len(entries)), b""
    at = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, data in sorted(entries):
        value = data.ljust(4, b"\0")
        if len(data) > 4:
            value, rest = struct.pack(">I", at + len(rest)), rest + data + bytes(len(data) % 2)
        head += struct.pack(">HHI", tag, kind, count) + value
    return head + bytes(4) + rest


def exif(orientation: int = 1) -> bytes:
    """A block of big-endian EXIF, with UTF-8, maker notes and a place."""

    def text(tag: int, words: str) -> tuple[int, int, int, bytes]:
        data = words.encode() + b"\0"
        return tag, 2, len(data), data

    def ratio(tag: int, *values: int) -> tuple[int, int, int, bytes]:
        return tag, 5, len(values), b"".join(struct.pack(">II", each, 1) for each in values)

    def short(tag: int, value: int) -> tuple[int, int, int, bytes]:
        return tag, 3, 1, struct.pack(">H", value)

    details = [text(36867, DATE), (37500, 7, 8, b"Maker\0\1\2"), short(40962, 17), ratio(33434, 5)]
    place = [text(1, "N"), ratio(2, int(GPS), 30, 0)]

    def main(where: int, far: int) -> bytes:
        entries = [
            *(text(270, DESCRIPTION), text(271, "Leitz"), text(272, "Leica III")),
            *(text(306, DATE), short(274, orientation)),
            *(ratio(282, DPI[0]), ratio(283, DPI[1]), short(296, 2)),
            *((34665, 4, 1, struct.pack(">I", where)), (34853, 4, 1, struct.pack(">I", far))),
        ]
        return _directory(entries, 8)

    first = 8 + len(main(0, 0))
    second = first + len(_directory(details, first))
    blocks = main(first, second) + _directory(details, first) + _directory(place, second)
    return b"MM\0*" + struct.pack(">I", 8) + blocks


def pixels(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth gray picture, (height, width) in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width]
    return 0.5 + 0.48 * np.sin(x / 9) * np.cos(y / 7)


def photograph(source: str, orientation: int = 1, profile: bytes = RGB_PROFILE) -> bytes:
    """A file of one of SOURCES that says everything of which its format has a place."""
    gray = Image.fromarray((pixels() * 255).round().astype(np.uint8))
    image = gray if profile == GRAY_PROFILE else gray.convert("RGB")
    said: dict[str, Any] = {"icc_profile": profile, "exif": exif(orientation)}
    buffer = io.BytesIO()
    if source == "TIFF":
        return tiff(np.asarray(image), orientation, profile)
    if source == "HEIC":
        import pillow_heif

        heif = pillow_heif.from_pillow(image)
        heif.info.update(said, xmp=xmp(orientation))
        heif.save(buffer, quality=95)
        return buffer.getvalue()
    if source == "JPEG":
        resources = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC)) + IPTC
        resources = b"Photoshop 3.0\0" + resources + bytes(len(IPTC) % 2)
        said["extra"] = b"\xff\xed" + struct.pack(">H", 2 + len(resources)) + resources
        said |= {"dpi": DPI, "exif": b"Exif\0\0" + said["exif"], "quality": 95}
    if source == "PNG":
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp(orientation).decode())
        digits = f"\niptc\n{len(IPTC)}\n{IPTC.hex()}\n"
        texts.add_text("Raw profile type iptc", digits, zip=True)
        said |= {"pnginfo": texts, "dpi": DPI}
    else:
        said["xmp"] = xmp(orientation)
    if source == "AVIF":  # Pillow rewrites EXIF with an orientation, and only ASCII survives that
        said["exif"] = exif().replace(
            struct.pack(">HHI", 274, 3, 1), struct.pack(">HHI", 273, 3, 1)
        )
    image.save(buffer, source.upper(), **said)
    return buffer.getvalue()


def tiff(samples: np.ndarray, orientation: int = 1, profile: bytes = RGB_PROFILE) -> bytes:
    """A TIFF of (height, width) or (height, width, 3) uint8 or uint16 that says everything."""
    order = samples.dtype.newbyteorder(">")
    strip = samples.astype(order).tobytes()
    bits, channels = 8 * samples.dtype.itemsize, 3 if samples.ndim == 3 else 1
    block = exif(orientation)
    base = len(block)
    # The directory of EXIF and that of the place stay where they are in the block.
    count = struct.unpack_from(">H", block, 8)[0]
    old = [struct.unpack_from(">HHI4s", block, 10 + 12 * each) for each in range(count)]
    size = {2: 1, 3: 2, 4: 4, 5: 8}
    entries = []
    for tag, kind, number, value in old:
        length = number * size[kind]
        data = value[:length]
        if length > 4:
            (at,) = struct.unpack(">I", value)
            data = block[at : at + length]
        entries.append((tag, kind, number, data))

    def numbers(tag: int, kind: str, *values: int) -> tuple[int, int, int, bytes]:
        return (
            tag,
            {"H": 3, "I": 4}[kind],
            len(values),
            struct.pack(f">{len(values)}{kind}", *values),
        )

    entries += [
        *(numbers(256, "I", samples.shape[1]), numbers(257, "I", samples.shape[0])),
        *(numbers(258, "H", *(bits,) * channels), numbers(259, "H", 1)),
        *(numbers(262, "H", 2 if channels == 3 else 1), numbers(273, "I", base)),
        *(numbers(277, "H", channels), numbers(278, "I", samples.shape[0])),
        *(numbers(279, "I", len(strip)), (700, 1, len(xmp(orientation)), xmp(orientation))),
        *((33723, 7, len(IPTC), IPTC), (34675, 7, len(profile), profile)),
    ]
    start = base + len(strip) + len(strip) % 2
    body = block[8:] + strip + bytes(len(strip) % 2)
    return b"MM\0*" + struct.pack(">I", start) + body + _directory(entries, start)


def told(data: bytes) -> dict[str, Any]:
    """What a file says, as Pillow reads it: the description, the caption, the title, …"""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        found, info = image.getexif(), image.info
        details, place = found.get_ifd(34665), found.get_ifd(34853)
        records = IptcImagePlugin.getiptcinfo(image) if image.format in ("JPEG", "TIFF") else None
        text = info.get("Raw profile type iptc", "").split("\n", 3)
        packet = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            packet = image.tag_v2.get(700, b"")
        packet = packet.encode() if isinstance(packet, str) else bytes(packet)
        caption = (records or {}).get((2, 120), b"")
        if len(text) > 3 and CAPTION.encode() in bytes.fromhex(text[3].replace("\n", "")):
            caption = CAPTION.encode()
        unit = info.get("dpi") or (found.get(282), found.get(283))
        return {
            "description": str(found.get(270, "")).encode("latin-1").decode(),
            "model": found.get(272),
            "date": details.get(36867),
            "orientation": found.get(274),
            "size": image.size,
            "stated width": details.get(40962),
            "color space": details.get(40961),
            "maker notes": details.get(37500),
            "latitude": place.get(2),
            "caption": caption,
            "title": TITLE in packet,
            "xmp": packet,
            # Pillow reads 1 in a TIFF that says nothing.
            "dpi": tuple(round(float(each), 2) if each and each != 1 else None for each in unit),
            "profile": info.get("icc_profile", b""),
        }
