"""What is a film: known by its content, without the libraries that read it."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from colorgan.data.sources.files import is_folder
from colorgan.data.sources.folders import files_below, files_in
from colorgan.errors import ConfigError
from colorgan.images.formats import FORMATS, identify

# The containers that are written, by suffix, as FFmpeg names them. AVI is only read: it has no
# times of frames, and programs show H.264 in it later than its sound.
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
SUFFIXES = (
    *CONTAINERS,
    *(
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".vob",
        ".wmv",
        ".asf",
        ".flv",
        ".ogv",
        ".3gp",
    ),
)

_HEAD = 4096  # bytes that are read to recognise a file
_MARKS = (
    b"\x1a\x45\xdf\xa3",  # Matroska and WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1 or MPEG-2 video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b"FLV\x01",
    b"OggS",
)
_MPEG_TS = 188  # bytes of a packet of an MPEG transport stream


def require_extra() -> None:
    """Raise ConfigError if the libraries that read films are not installed."""
    missing = [name for name in ("av", "cv2") if find_spec(name) is None]
    if missing:
        raise ConfigError("films need PyAV and OpenCV: pip install 'colorgan[film]' installs them")


def is_film(path: Path) -> bool:
    """Whether a file is a film by its content, or by its suffix if it is no known picture."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        found = identify(head)
        return found is not None and any(kind.startswith("video/") for kind in found.media_types)
    if head.startswith(_MARKS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    if head[:1] == b"G" and head[_MPEG_TS : _MPEG_TS + 1] == b"G":
        return True
    return path.suffix.lower() in SUFFIXES and identify(head) is None


def find_films(sources: Sequence[str], recursive: bool = False) -> dict[str, list[Path]]:
    """The films among the sources of a command, by source.

    Args:
        sources: as `find_photographs` takes them. Only files and folders hold films.
        recursive: whether subfolders are entered.

    Returns:
        The films of each source that has any, those of a folder by path. A folder with anything
        that is named as a picture is one of photographs, which leaves out films.
    """
    found = {}
    for source in sources:
        path = Path(source)
        if source == "-" or source.startswith(("@", "s3://", "dataset:")):
            continue
        if is_folder(path):
            films = list(_films_in(path, recursive))
        else:
            films = [path] if path.is_file() and is_film(path) else []
        if films:
            found[source] = films
    return found


def _films_in(folder: Path, recursive: bool) -> Iterator[Path]:
    paths = files_below(folder) if recursive else files_in(folder)
    pictures = _picture_suffixes()
    if any(not path.suffix or path.suffix.lower() in pictures for path in paths):
        return
    named = (path for path in paths if path.suffix.lower() in SUFFIXES)
    yield from (path for path in named if path.is_file() and is_film(path))


def _picture_suffixes() -> set[str]:
    return {suffix for each in FORMATS for suffix in each.suffixes if suffix not in SUFFIXES}
