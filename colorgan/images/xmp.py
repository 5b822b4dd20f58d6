"""XMP (ISO 16684-1), the description of a photograph in XML, for a picture made from it."""

from xml.dom import minidom
from xml.parsers.expat import ExpatError

_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_PLACE = "http://www.w3.org/2003/01/geo/wgs84_pos#"

_LONGEST = 4 << 20  # bytes; a parsed packet takes some fifty times as many

# What says how the old file stored its pixels, or shows them: the new file's are different.
_OUTDATED = {
    *((_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength", "BitsPerSample")),
    *((_TIFF, name) for name in ("Compression", "PhotometricInterpretation", "SamplesPerPixel")),
    *((_TIFF, name) for name in ("PlanarConfiguration", "XResolution", "YResolution")),
    *((_TIFF, name) for name in ("ResolutionUnit", "NativeDigest")),
    *((_EXIF, name) for name in ("PixelXDimension", "PixelYDimension", "ColorSpace", "MakerNote")),
    (_EXIF, "NativeDigest"),
    *((_PHOTOSHOP, name) for name in ("ICCProfile", "ColorMode")),
    (_XMP, "Thumbnails"),
}


def clean_xmp(packet: bytes, keep_gps: bool) -> bytes | None:
    """Remove what describes the old file's pixels, and by default the place.

    Args:
        packet: XMP, in UTF-8 or UTF-16.
        keep_gps: whether coordinates are kept.

    Returns:
        XMP in UTF-8; None if the packet is not well-formed, is longer than 4 MB or has entities, as
        what it says is not known then.
    """
    if len(packet) > _LONGEST or b"<!" in packet.replace(b"<!--", b""):
        return None
    try:
        document = minidom.parseString(packet.rstrip(b"\0 \r\n\t"))
        with document:
            for child in document.childNodes:
                if isinstance(child, minidom.Element):
                    _clean(child, keep_gps)
            return b"".join(each.toxml().encode() for each in document.childNodes)
    except (ExpatError, ValueError, LookupError, RecursionError):
        return None


def _clean(element: minidom.Element, keep_gps: bool) -> None:
    for attribute in list(element.attributes.values()):
        if _goes(attribute, keep_gps):
            element.removeAttributeNode(attribute)
    for child in list(element.childNodes):
        if not isinstance(child, minidom.Element):
            continue
        if _goes(child, keep_gps):
            element.removeChild(child)
        else:
            _clean(child, keep_gps)


def _goes(node: minidom.Attr | minidom.Element, keep_gps: bool) -> bool:
    space, name = node.namespaceURI, node.localName or ""
    if (space, name) in _OUTDATED:
        return True
    # "GPSLatitude" of EXIF, "GpsLatitude" of drones' makers, …
    return not keep_gps and (space == _PLACE or name.lower().startswith("gps"))
