"""The known picture formats: how each is identified, and whether it can be read.

A file is identified by its content, never by its name. A known format that cannot be read is
refused by name, with a way out; the command line, staging and the HTTP API all use this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from PIL import features

from colorgan.images import tiff_structure

SAVE_ANEW = "save it as PNG or JPEG"

# Number of leading bytes that are searched for text formats.
_TEXT = 1024


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _has_pillow_heif() -> bool:
    return find_spec("pillow_heif") is not None


def _has_avif() -> bool:
    return bool(features.check("avif"))


@dataclass(frozen=True)
class Format:
    """A format of picture files.

    Attributes:
        name: its common name.
        media_types: its media types, the registered one first; empty if it has none of its own.
        suffixes: its file suffixes, in lower case with the dot, the most common one first.
        plugin: the name of Pillow's plugin; empty if it is not read with Pillow.
        extra: the extra of colorgan that reads it; empty if none is needed or none helps.
        is_raw: whether it is a camera's raw format, with sensor data instead of a picture.
    """

    name: str
    media_types: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    plugin: str = ""
    extra: str = ""
    is_raw: bool = False
    _check: Callable[[], bool] = _never

    @property
    def readable(self) -> bool:
        """Whether this installation can decode it."""
        return self._check()

    @property
    def way_out(self) -> str:
        """What to do with a file of this format that cannot be read here."""
        if self.extra:
            return f"pip install 'colorgan[{self.extra}]' reads it"
        if self.plugin == "AVIF":
            return "Pillow 11.3 or newer reads and writes it"
        if self.is_raw:
            return "a camera's raw file must be developed first; save that as TIFF, PNG or JPEG"
        return SAVE_ANEW

    def __str__(self) -> str:
        """The format's name."""
        return self.name


def _raw(name: str, *suffixes: str, media_types: tuple[str, ...] = ()) -> Format:
    return Format(name, media_types, suffixes, is_raw=True)


JPEG = Format(
    "JPEG",
    ("image/jpeg", "image/jpg", "image/pjpeg"),
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "JPEG",
    _check=_always,
)
PNG = Format(
    "PNG", ("image/png", "image/apng", "image/x-png"), (".png", ".apng"), "PNG", _check=_always
)
WEBP = Format("WebP", ("image/webp",), (".webp",), "WEBP", _check=_always)
TIFF = Format(
    "TIFF",
    ("image/tiff", "image/tiff-fx", "image/x-tiff"),
    (".tif", ".tiff"),
    "TIFF",
    _check=_always,
)
BMP = Format(
    "BMP", ("image/bmp", "image/x-bmp", "image/x-ms-bmp"), (".bmp", ".dib"), "BMP", _check=_always
)
GIF = Format("GIF", ("image/gif",), (".gif",), "GIF", _check=_always)
HEIC = Format(
    "HEIC",
    ("image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"),
    (".heic", ".heif", ".hif"),
    "HEIF",
    "heif",
    _check=_has_pillow_heif,
)
AVIF = Format("AVIF", ("image/avif",), (".avif", ".avifs"), "AVIF", _check=_has_avif)

_JPEG_2000 = Format(
    "JPEG 2000",
    ("image/jp2", "image/jpx", "image/jpm", "image/j2c"),
    (".jp2", ".j2k", ".jpx", ".jpf"),
)
_JPEG_XL = Format("JPEG XL", ("image/jxl",), (".jxl",))
_JPEG_LS = Format("JPEG-LS", ("image/jls",), (".jls",))
_JPEG_XR = Format("JPEG XR", ("image/jxr", "image/vnd.ms-photo"), (".jxr", ".wdp", ".hdp"))
_PSD = Format(
    "PSD",
    ("image/vnd.adobe.photoshop", "image/x-photoshop", "application/x-photoshop"),
    (".psd", ".psb"),
)
_PDF = Format("PDF", ("application/pdf",), (".pdf",))
_POSTSCRIPT = Format(
    "PostScript", ("application/postscript", "image/x-eps"), (".eps", ".ps", ".epsf", ".epsi")
)
_SVG = Format("SVG", ("image/svg+xml",), (".svg",))
_NETPBM = Format(
    "Netpbm",
    (
        "image/x-portable-anymap",
        "image/x-portable-pixmap",
        "image/x-portable-graymap",
        "image/x-portable-bitmap",
    ),
    (".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm"),
)
_XCF = Format("XCF", ("image/x-xcf",), (".xcf",))
_ICO = Format("ICO", ("image/vnd.microsoft.icon", "image/x-icon"), (".ico", ".cur"))
_ICNS = Format("ICNS", ("image/icns",), (".icns",))
_EXR = Format("OpenEXR", ("image/x-exr",), (".exr",))
_RADIANCE = Format("Radiance HDR", ("image/vnd.radiance",), (".hdr", ".pic"))
_DDS = Format("DDS", ("image/vnd-ms.dds",), (".dds",))
_FITS = Format("FITS", ("image/fits",), (".fits", ".fit"))
_DICOM = Format("DICOM", ("application/dicom",), (".dcm",))
_PCX = Format("PCX", ("image/x-pcx", "image/vnd.zbrush.pcx"), (".pcx",))
_SUN = Format("Sun raster", ("image/x-sun-raster",), (".ras",))
_SGI = Format("SGI", ("image/sgi",), (".sgi", ".rgb", ".bw"))
_DJVU = Format("DjVu", ("image/vnd.djvu",), (".djvu", ".djv"))
_QOI = Format("QOI", ("image/qoi",), (".qoi",))
_FLIF = Format("FLIF", ("image/flif",), (".flif",))
_BPG = Format("BPG", ("image/bpg",), (".bpg",))
_BITMAP_ARRAY = Format("OS/2 bitmap array", ("image/x-os2-graphics",))
_WMF = Format("Windows metafile", ("image/wmf", "image/emf"), (".wmf", ".emf"))
_MNG = Format("MNG", ("video/x-mng", "image/x-jng"), (".mng", ".jng"))
_HEVC_VIDEO = Format("MPEG-4 video", ("video/mp4", "video/quicktime"), (".mp4", ".mov", ".m4v"))

_BLP = Format("BLP", (), (".blp",))
_TGA = Format("TGA", ("image/x-tga", "image/x-targa"), (".tga",))
_PHOTO_CD = Format("Photo CD", ("image/x-photo-cd",), (".pcd",))
_XPM = Format("XPM", ("image/x-xpixmap",), (".xpm",))

_DNG = _raw("DNG", ".dng", media_types=("image/x-adobe-dng", "image/dng"))
_CR2 = _raw("CR2", ".cr2", media_types=("image/x-canon-cr2",))
_CR3 = _raw("CR3", ".cr3", media_types=("image/x-canon-cr3",))
_CRW = _raw("CRW", ".crw", media_types=("image/x-canon-crw",))
_NEF = _raw("NEF", ".nef", ".nrw", media_types=("image/x-nikon-nef",))
_ARW = _raw("ARW", ".arw", ".sr2", ".srf", media_types=("image/x-sony-arw",))
_RAF = _raw("RAF", ".raf", media_types=("image/x-fuji-raf",))
_ORF = _raw("ORF", ".orf", media_types=("image/x-olympus-orf",))
_RW2 = _raw("RW2", ".rw2", ".raw", ".rwl", media_types=("image/x-panasonic-rw2",))
_PEF = _raw("PEF", ".pef", media_types=("image/x-pentax-pef",))
_SRW = _raw("SRW", ".srw", media_types=("image/x-samsung-srw",))
_X3F = _raw("X3F", ".x3f", media_types=("image/x-sigma-x3f",))
_MRW = _raw("MRW", ".mrw", media_types=("image/x-minolta-mrw",))
_IIQ = _raw("IIQ", ".iiq")
_3FR = _raw("3FR", ".3fr", ".fff")
_ERF = _raw("ERF", ".erf")
_DCR = _raw("DCR", ".dcr", ".kdc", ".k25", media_types=("image/x-kodak-dcr",))
_MOS = _raw("MOS", ".mos")
_CAMERA_RAW = _raw("camera raw")

FORMATS = (
    *(JPEG, PNG, WEBP, TIFF, BMP, GIF, HEIC, AVIF),
    *(_JPEG_2000, _JPEG_XL, _JPEG_LS, _JPEG_XR, _PSD, _PDF, _POSTSCRIPT, _SVG, _NETPBM, _XCF, _ICO),
    *(_ICNS, _EXR, _RADIANCE, _DDS, _FITS, _DICOM, _PCX, _SUN, _SGI, _DJVU, _QOI, _FLIF, _BPG),
    *(_BLP, _TGA, _PHOTO_CD, _XPM, _BITMAP_ARRAY, _WMF, _MNG, _HEVC_VIDEO),
    *(_DNG, _CR2, _CR3, _CRW, _NEF, _ARW, _RAF, _ORF, _RW2, _PEF, _SRW, _X3F, _MRW, _IIQ, _3FR),
    *(_ERF, _DCR, _MOS, _CAMERA_RAW),
)

# The first bytes of files. A longer mark precedes any shorter mark that is its prefix.
_MARKS: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff\xf7", _JPEG_LS),
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _JPEG_2000),
    (b"\xff\x4f\xff\x51", _JPEG_2000),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _JPEG_XL),
    (b"\xff\x0a", _JPEG_XL),
    (b"8BPS\0\x01", _PSD),
    (b"8BPS\0\x02", _PSD),
    (b"%PDF-", _PDF),
    (b"%!PS", _POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", _POSTSCRIPT),
    (b"gimp xcf ", _XCF),
    (b"icns", _ICNS),
    (b"\x76\x2f\x31\x01", _EXR),
    (b"#?RADIANCE", _RADIANCE),
    (b"#?RGBE", _RADIANCE),
    (b"DDS |\0\0\0", _DDS),
    (b"SIMPLE  =", _FITS),
    (b"\x59\xa6\x6a\x95", _SUN),
    (b"\x01\xda\0\x01", _SGI),
    (b"\x01\xda\x01\x01", _SGI),
    (b"AT&TFORM", _DJVU),
    (b"qoif", _QOI),
    (b"FLIF", _FLIF),
    (b"BPG\xfb", _BPG),
    (b"\xd7\xcd\xc6\x9a", _WMF),
    (b"\x8aMNG\r\n\x1a\n", _MNG),
    (b"\x8bJNG\r\n\x1a\n", _MNG),
    (b"BLP1", _BLP),
    (b"BLP2", _BLP),
    (b"/* XPM */", _XPM),
    (b"FUJIFILMCCD-RAW", _RAF),
    (b"IIRO", _ORF),
    (b"IIRS", _ORF),
    (b"MMOR", _ORF),
    (b"IIU\0", _RW2),
    (b"II\x1a\0\0\0HEAPCCDR", _CRW),
    (b"FOVb", _X3F),
    (b"\0MRM", _MRW),
    (b"II\xbc\x01", _JPEG_XR),
    (b"II\xbc\0", _JPEG_XR),
)

# The brands in the box "ftyp", which distinguish the formats in ISO base media files.
_BRANDS: tuple[tuple[bytes, Format], ...] = (
    (b"avif", AVIF),
    (b"avis", AVIF),
    (b"crx ", _CR3),
    (b"heic", HEIC),
    (b"heix", HEIC),
    (b"hevc", HEIC),
    (b"hevx", HEIC),
    (b"heim", HEIC),
    (b"heis", HEIC),
    (b"mif1", HEIC),
    (b"mif2", HEIC),
    (b"msf1", HEIC),
)

# The makers whose raw files are TIFFs, by the beginning of the tag Make, in upper case.
_MAKERS: tuple[tuple[str, Format], ...] = (
    ("NIKON", _NEF),
    ("SONY", _ARW),
    ("PENTAX", _PEF),
    ("RICOH", _PEF),
    ("SAMSUNG", _SRW),
    ("CANON", _CR2),
    ("OLYMPUS", _ORF),
    ("PANASONIC", _RW2),
    ("HASSELBLAD", _3FR),
    ("IMACON", _3FR),
    ("SEIKO EPSON", _ERF),
    ("EPSON", _ERF),
    ("EASTMAN KODAK", _DCR),
    ("KODAK", _DCR),
    ("LEAF", _MOS),
    ("PHASE ONE", _IIQ),
)


def identify(data: bytes) -> Format | None:
    """Identify the format of a file by its content; None if it is not in FORMATS.

    Args:
        data: the complete file, or its beginning. The directories that distinguish a camera's raw
            file from another TIFF may be anywhere in the file.
    """
    for mark, found in _MARKS:
        if data.startswith(mark):
            return found
    if data[:4] in tiff_structure.MARKS:
        return _identify_tiff(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        return _identify_media(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return BMP
    if data[:2] == b"BA" and data[14:16] in (b"BM", b"CI", b"CP", b"IC", b"PT"):
        return _BITMAP_ARRAY
    if data[:1] == b"P" and data[1:2] in b"1234567Ff" and data[2:3] in b" \t\r\n#":
        return _NETPBM
    if data[128:132] == b"DICM":
        return _DICOM
    if data[:4] in (b"\0\0\x01\0", b"\0\0\x02\0") and 0 < int.from_bytes(data[4:6], "little") < 256:
        return _ICO
    if (
        data[:1] == b"\n"
        and data[1:2] in b"\0\2\3\4\5"
        and data[2:3] == b"\1"
        and data[3:4] in b"\1\2\4\b"
    ):
        return _PCX
    if data[2048:2055] == b"PCD_IPI":
        return _PHOTO_CD
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        return _TGA
    if data[:4] == b"\1\0\0\0" and data[40:44] == b" EMF":
        return _WMF
    return _SVG if _is_svg(data) else None


# All sizes of the header that follows the first 14 bytes of a BMP, in any version.
_BMP_HEADERS = (12, *range(16, 68, 4), 108, 124)


def _identify_media(data: bytes) -> Format | None:
    size = int.from_bytes(data[:4], "big")
    box = data[8 : min(size, 512)]
    # The major brand comes first and then, after a version, the compatible brands.
    for brand in (box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))):
        for mark, found in _BRANDS:
            # "mif1" does not determine the codec: both HEIC and AVIF use it.
            if brand == mark and (brand not in (b"mif1", b"mif2", b"msf1") or b"avi" not in box):
                return found
    return _HEVC_VIDEO


def _identify_tiff(data: bytes) -> Format:
    if data[8:10] == b"CR":
        return _CR2
    if data[8:12] in (b"IIII", b"MMMM"):
        return _IIQ
    structure = tiff_structure.read(data)
    if structure.has_dng_version:
        return _DNG
    if not structure.holds_raw:
        return TIFF
    make = structure.make.upper()
    return next((found for start, found in _MAKERS if make.startswith(start)), _CAMERA_RAW)


def _is_svg(data: bytes) -> bool:
    head = data[:_TEXT].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head.startswith((b"<?xml", b"<svg", b"<!doctype svg", b"<!--")):
        return False
    return b"<svg" in head and b"<html" not in head


def by_media_type(media_type: str) -> Format | None:
    """The format with a media type (lower case, without parameters), or None."""
    return next((each for each in FORMATS if media_type in each.media_types), None)


def readable_names() -> str:
    """The formats that this installation can read, for a sentence: "JPEG, PNG or GIF"."""
    names = [each.name for each in FORMATS if each.readable]
    return f"{', '.join(names[:-1])} or {names[-1]}"
