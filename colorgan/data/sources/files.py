"""The lists that sources read: local files, or what is downloaded for the time of reading it."""

import codecs
import csv
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from colorgan.errors import ConfigError

# Writes what is at an address to a file; raises ColorganError where there is nothing.
Download = Callable[[str, Path], None]


@dataclass(frozen=True)
class ListFile:
    """A text file, in UTF-8 or, where a line is not that, in Latin-1.

    Attributes:
        path: where it is.
        name: what its user calls it.
    """

    path: Path
    name: str

    def lines(self) -> Iterator[str]:
        r"""Its lines, each ending in `\n`, without a byte order mark; raises ConfigError."""
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file):
                    if number == 0:
                        line = line.removeprefix(codecs.BOM_UTF8)
                    try:
                        text = line.decode("utf-8")
                    except UnicodeDecodeError:
                        text = line.decode("latin-1")
                    # csv takes a carriage return inside a line for an error.
                    yield text.rstrip("\r\n").replace("\r", " ") + "\n"
        except OSError as error:
            raise ConfigError(f"{self.name}: {error.strerror}") from None

    def rows(self, delimiter: str = ",") -> Iterator[list[str]]:
        """Its rows as CSV (RFC 4180), without empty ones; raises ConfigError."""
        reader = csv.reader(self.lines(), delimiter=delimiter)
        try:
            for row in reader:
                if row:
                    yield row
        except csv.Error as error:
            raise ConfigError(f"{self.name}, line {reader.line_num}: {error}") from None


@contextmanager
def local_file(place: str, download: Download | None) -> Iterator[ListFile]:
    """The file at a path or an address; what is downloaded is deleted afterwards.

    Raises:
        ConfigError: there is no such file, or nothing to download with.
        ColorganError: it cannot be downloaded.
    """
    name = without_secrets(place)
    if not is_address(place):
        path = Path(place)
        if not path.is_file():
            raise ConfigError(f"{name} is not a file")
        yield ListFile(path, name)
        return
    if download is None:
        raise ConfigError(f"{name} cannot be downloaded here: give the path of a local copy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        download(place, path)
        yield ListFile(path, name)


def is_address(text: str) -> bool:
    """Whether this is an http:// or https:// address with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that hold no IPv6 address
        return False


def without_secrets(text: str) -> str:
    """The text without user names, passwords and the values of queries in its addresses.

    `{wnid}` is left as a value: it is no secret, and says what the address is for.
    """
    text = re.sub(r"//[^/\s]*@", "//", text)
    return re.sub(r"([?&][^=&\s]*=)(?!\{wnid\})[^&\s,]*", r"\1…", text)
