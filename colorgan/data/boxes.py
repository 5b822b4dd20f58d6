"""Pictures with boxes around things, in PASCAL VOC's layout (Everingham et al. 2010).

<folder>/JPEGImages/<name>.jpg            a picture
<folder>/Annotations/<name>.xml           its boxes
<folder>/ImageSets/Main/<split>.txt       the names of a split, one per line

Without the folder Annotations, the boxes are those around the connected parts of the masks of
`colorgan.data.masks`.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label

from colorgan.data.masks import MASKS, Mask, MaskedFolder, find_picture, listed_names
from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.images.decoding import Pixels, decode

_BOXES, _SPLITS = "Annotations", "ImageSets/Main"
_LEAST = 0.002  # of the picture; smaller parts of a mask are no things


@dataclass(frozen=True)
class Boxed:
    """A picture and the boxes around its things.

    Attributes:
        name: the base name of its files.
        picture: (height, width, 3) uint8 sRGB.
        boxes: (things, 4) float32: left, top, right, bottom in pixels.
        things: the name of each.
        digest: SHA-256 (hex) of its files.
    """

    name: str
    picture: Pixels
    boxes: npt.NDArray[np.float32]
    things: tuple[str, ...]
    digest: str


class BoxedFolder:
    """A folder of pictures and boxes.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        """Find out which of both layouts it has; raises ConfigError if it has neither."""
        self.path = path
        self._masks: MaskedFolder | None = None
        if not (path / _BOXES).is_dir():
            if not path.is_dir():
                raise ConfigError(f"there is no folder {path}")
            if not (path / MASKS).is_dir():
                raise ConfigError(
                    f"{path} has neither a folder {_BOXES} with boxes nor {MASKS} with masks: give "
                    "a folder in PASCAL VOC's layout, as colorgan scenes writes one"
                )
            self._masks = MaskedFolder(path)

    def names(self, split: str) -> list[str]:
        """The names of a split; raises ConfigError if its list is missing or empty."""
        if self._masks:
            return self._masks.names(split)
        return listed_names(self.path / _SPLITS / f"{split}.txt")

    def read(self, names: Sequence[str]) -> Iterator[Boxed]:
        """Read pictures with their boxes.

        Raises:
            ConfigError: a picture or its boxes are missing.
            Corrupt: a file cannot be read.
        """
        if self._masks:
            for each in self._masks.read(names):
                boxes, things = boxes_of(each.mask, self._masks.classes)
                yield Boxed(each.name, each.picture, boxes, things, each.digest)
            return
        for name in names:
            file = find_picture(self.path, name)
            data = file.read_bytes()
            try:
                picture = decode(data).rgb
            except ColorganError as error:
                raise Corrupt(f"{file} cannot be read: {error}") from None
            boxes, things, described = self._annotated(name)
            digest = hashlib.sha256(data + described).hexdigest()
            yield Boxed(name, picture, boxes, things, digest)

    def _annotated(self, name: str) -> tuple[npt.NDArray[np.float32], tuple[str, ...], bytes]:
        file = self.path / _BOXES / f"{name}.xml"
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{self.path / _BOXES} has no boxes {name}.xml") from None
        boxes, things = [], []
        try:
            for each in ElementTree.fromstring(data).iter("object"):
                box = each.find("bndbox")
                sides = [float(_text(box, side)) for side in ("xmin", "ymin", "xmax", "ymax")]
                if not (sides[0] <= sides[2] < math.inf and sides[1] <= sides[3] < math.inf):
                    raise ValueError(f"a box ends before it begins: {sides}")
                # Their pixels count from 1, and the last one belongs to the box.
                boxes.append([sides[0] - 1, sides[1] - 1, sides[2], sides[3]])
                things.append(_text(each, "name"))
        except (ElementTree.ParseError, ValueError) as error:
            raise Corrupt(f"{file} cannot be read as boxes of PASCAL VOC ({error})") from None
        return np.array(boxes, np.float32).reshape(-1, 4), tuple(things), data


def _text(element: ElementTree.Element | None, name: str) -> str:
    found = None if element is None else element.findtext(name)
    if not found:
        raise ValueError(f"an object has no {name}")
    return found.strip()


def boxes_of(mask: Mask, classes: Sequence[str]) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """The boxes around the connected parts of a mask, and what each part shows.

    Args:
        mask: (height, width) uint8 places of classes.
        classes: the classes.
    """
    boxes: list[list[int]] = []
    things: list[str] = []
    for number, name in enumerate(classes):
        parts, _ = label(mask == number, np.ones((3, 3)))
        for part, (rows, columns) in enumerate(find_objects(parts), 1):
            if (parts[rows, columns] == part).sum() >= _LEAST * mask.size:
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                things.append(name)
    return np.array(boxes, np.float32).reshape(-1, 4), tuple(things)
