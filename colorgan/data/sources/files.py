"""The lists that sources read: local files, or files downloaded temporarily."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from colorgan.data.naming import readable
from colorgan.errors import ConfigError
from colorgan.temporary import temporary_folder

# Downloads a URL to a file; raises ColorganError on failure.
Download = Callable[[str, Path], None]


# The first bytes of compressed files and archives.
_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "packed by gzip",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\x00": "packed by xz",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
}
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # must precede UTF-16, whose mark is its prefix
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
_BLOCK = 1 << 16  # bytes
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class ListFile:
    """A text file in UTF-8, UTF-16 or UTF-32; lines that are none of these are read as Latin-1.

    Attributes:
        path: the local path.
        name: the path or URL that the user gave, for messages.
    """

    path: Path
    name: str

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open its content in UTF-8, without a byte order mark; raises ConfigError."""
        try:
            with self.path.open("rb") as file:
                encoding = _encoding(file.read(_BLOCK))
                file.seek(0)
                if encoding == "utf-8":
                    yield file
                elif encoding == "utf-8-sig":
                    file.seek(len(codecs.BOM_UTF8))
                    yield file
                else:
                    yield io.BufferedReader(_Recoded(file, encoding))
        except OSError as error:
            raise ConfigError(f"{self.name}: {error.strerror}") from None

    def lines(self) -> Iterator[str]:
        r"""The lines, each ending in `\n`, without a byte order mark; raises ConfigError."""
        with self.open() as file:
            for line in _lines(file):
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError:
                    text = line.decode("latin-1")
                # The csv module rejects a carriage return inside a line.
                yield text.rstrip("\r\n").replace("\r", " ") + "\n"

    def rows(self) -> Iterator[list[str]]:
        """The rows as CSV (RFC 4180), without empty rows and comments; raises ConfigError.

        The delimiter is the comma, semicolon, tab or bar that divides the first row into the most
        cells, or the one in a preceding line `sep=;`, as Excel writes it.
        """
        lines = self.lines()
        first, delimiter = next(filter(_is_content, lines), ""), ""
        if found := re.fullmatch(r'"?sep=(.)"?', first.strip(), re.IGNORECASE):
            first, delimiter = next(filter(_is_content, lines), ""), found[1]
        delimiter = delimiter or max(_DELIMITERS, key=partial(_cells, first))
        reader = csv.reader(chain([first], lines), delimiter=delimiter)
        try:
            for row in reader:
                if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                    yield row
        except csv.Error as error:
            raise ConfigError(f"{self.name}, line {reader.line_num}: {error}") from None


class _Recoded(io.RawIOBase):
    """A file in another encoding, read as UTF-8 bytes."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._reader = codecs.getreader(encoding)(file, "replace")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or self._reader.read(_BLOCK).encode()
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def _encoding(head: bytes) -> str:
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    # In UTF-16 without a mark, every other byte of ASCII text is zero.
    zeros = head[::2].count(0), head[1::2].count(0)
    if min(zeros) == 0 and max(zeros) > len(head) // 4:
        return "utf-16-be" if zeros[0] else "utf-16-le"
    return "utf-8"


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, which end in LF, CR LF or, if there is no LF, in CR."""
    rest, end = b"", b""
    while block := file.read(_BLOCK):
        rest += block
        end = end or (b"\r" if b"\r" in rest and b"\n" not in rest else b"\n")
        *whole, rest = rest.split(end)
        yield from whole
    if rest:
        yield rest


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _cells(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


@contextmanager
def local_file(place: str, download: Download | None) -> Iterator[ListFile]:
    """The file at a path or URL; a downloaded file is deleted afterwards.

    Raises:
        ConfigError: there is no such file, it is compressed, or `download` is None for a URL.
        ColorganError: it cannot be downloaded.
    """
    name = readable(without_secrets(place))
    if not is_address(place):
        path = expand(place)
        if not is_file(path):
            raise ConfigError(f"{name} is not a file")
        yield _unpacked(ListFile(path, name))
        return
    if download is None:
        raise ConfigError(f"{name} cannot be downloaded here: give the path of a local copy")
    with temporary_folder("download") as folder:
        path = folder / "download"
        download(place, path)
        yield _unpacked(ListFile(path, name))


def _unpacked(file: ListFile) -> ListFile:
    with file.open() as data:
        head = data.read(max(map(len, _PACKED)))
    for mark, kind in _PACKED.items():
        if head.startswith(mark):
            raise ConfigError(f"{file.name} is {kind}: unpack it, and give its content")
    return file


def expand(place: str | Path) -> Path:
    """Make a path absolute and expand `~`.

    Other processes may have another working directory, where a relative path would differ.
    """
    path = Path(place)
    with suppress(RuntimeError):  # there is no such user
        path = path.expanduser()
    return path.absolute()


def is_file(path: Path) -> bool:
    """Whether a path is a file or a link to one; False if this cannot be determined."""
    with suppress(OSError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder or a link to one; False if this cannot be determined."""
    with suppress(OSError):
        return path.is_dir()
    return False


def is_archive(path: Path) -> bool:
    """Whether a path is a file with the suffix of an archive."""
    return is_file(path) and path.suffix.lower() in _ARCHIVES


def check_folder(place: str | Path) -> Path:
    """The absolute path of a folder; raises ConfigError if it is not a folder."""
    path = expand(place)
    if is_folder(path):
        return path
    hint = ""
    try:
        path.stat()
    except PermissionError as error:
        hint = f" that can be read ({error.strerror})"
    except (OSError, ValueError):  # it does not exist, or the name is invalid
        pass
    if is_archive(path):
        hint = ": it is an archive; unpack it, and give the unpacked folder"
    raise ConfigError(f"{readable(place)} is not a folder{hint}")


def is_address(text: str) -> bool:
    """Whether a text is an http:// or https:// URL with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets without an IPv6 address
        return False


def without_secrets(text: str) -> str:
    """The text without user names, passwords and query values in its URLs.

    `{wnid}` at the beginning of a value is kept: it is not secret and shows what the URL is for.
    """
    text = re.sub(r"//[^/\s]*@", "//", text)
    return re.sub(
        r"([?&][^=&\s]*=)(?:(\{wnid\})(?![^&\s,])|(\{wnid\})?[^&\s,]*)",
        lambda found: f"{found[1]}{found[2] or (found[3] or '') + '…'}",
        text,
    )
