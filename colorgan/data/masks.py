"""Pictures with a mask each, in PASCAL VOC's layout (Everingham et al. 2010).

<folder>/JPEGImages/<name>.jpg                     a picture
<folder>/SegmentationClass/<name>.png              its mask: a palette PNG, or an 8-bit gray one
<folder>/ImageSets/Segmentation/<split>.txt        the names of a split, one per line
<folder>/labels.txt                                the classes, one per line; VOC's if it is missing

A mask's values are the places of the classes, from 0, and 255 for pixels that do not count.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from colorgan.data.scenes import CLASSES, REGIONS, draw_both
from colorgan.data.scenes.hybrids import PAIRS, draw_hybrid
from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.files import check_outputs, write_file
from colorgan.images.decoding import Pixels, decode, encode_jpeg

Mask = npt.NDArray[np.uint8]

IGNORED = 255  # the value of a pixel that does not count

# PASCAL VOC's classes, in the order of its masks' values.
VOC_CLASSES: tuple[str, ...] = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
_PICTURES, MASKS, _SPLITS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_LABELS = "labels.txt"
_SUFFIXES = (".jpg", ".jpeg", ".png")
_EVERY = 5  # of so many scenes, the last one is for validation


def listed_names(file: Path) -> list[str]:
    """The names in a split's list; raises ConfigError if it is missing or empty."""
    if not file.exists():
        raise ConfigError(f"there is no file {file}: it lists the pictures of the split")
    names = file.read_text(encoding="utf-8").split()
    if not names:
        raise ConfigError(f"{file} lists no picture")
    return names


def find_picture(folder: Path, name: str) -> Path:
    """The file of a picture in PASCAL VOC's layout; raises ConfigError if there is none."""
    files = (folder / _PICTURES / f"{name}{suffix}" for suffix in _SUFFIXES)
    for file in files:
        if file.exists():
            return file
    raise ConfigError(f"{folder / _PICTURES} has no picture {name}")


@dataclass(frozen=True)
class Masked:
    """A picture and its mask.

    Attributes:
        name: the base name of both files.
        picture: (height, width, 3) uint8 sRGB.
        mask: (height, width) uint8 places of classes, or IGNORED.
        digest: SHA-256 (hex) of both files.
    """

    name: str
    picture: Pixels
    mask: Mask
    digest: str


class MaskedFolder:
    """A folder of pictures and masks.

    Attributes:
        path: the folder.
        classes: what a pixel can show, in the order of the masks' values.
    """

    def __init__(self, path: Path) -> None:
        """Read the names of the classes; raises ConfigError if the folder has no masks."""
        self.path = path
        if not (path / MASKS).is_dir():
            raise ConfigError(
                f"{path} has no folder {MASKS}: give a folder in PASCAL VOC's layout "
                f"({_PICTURES}, {MASKS}, {_SPLITS}), as colorgan scenes writes one"
            )
        self.classes = VOC_CLASSES
        if (path / _LABELS).exists():
            lines = (path / _LABELS).read_text(encoding="utf-8").splitlines()
            self.classes = tuple(filter(None, map(str.strip, lines)))
        if not 2 <= len(set(self.classes)) == len(self.classes) < IGNORED:
            raise ConfigError(f"{path / _LABELS} must name 2 to 254 classes, each once")

    def names(self, split: str) -> list[str]:
        """The names of a split; raises ConfigError if its list is missing or empty."""
        return listed_names(self.path / _SPLITS / f"{split}.txt")

    def read(self, names: Sequence[str]) -> Iterator[Masked]:
        """Read pictures with their masks.

        Raises:
            ConfigError: a picture or its mask is missing.
            Corrupt: a file cannot be read, or the mask does not fit its picture or the classes.
        """
        for name in names:
            file = find_picture(self.path, name)
            data, mask_data = file.read_bytes(), self._mask_data(name)
            try:
                picture = decode(data).rgb
            except ColorganError as error:
                raise Corrupt(f"{file} cannot be read: {error}") from None
            mask = self._read_mask(name, mask_data)
            if mask.shape != picture.shape[:2]:
                sizes = " and ".join(f"{w} x {h}" for h, w in (mask.shape, picture.shape[:2]))
                raise Corrupt(f"the mask of {file} has another size than the picture: {sizes} px")
            yield Masked(name, picture, mask, hashlib.sha256(data + mask_data).hexdigest())

    def mask(self, name: str) -> Mask | None:
        """The mask of a picture, (height, width); None if there is none. Raises Corrupt."""
        if not (self.path / MASKS / f"{name}.png").exists():
            return None
        return self._read_mask(name, self._mask_data(name))

    def _mask_data(self, name: str) -> bytes:
        try:
            return (self.path / MASKS / f"{name}.png").read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{self.path / MASKS} has no mask {name}.png") from None

    def _read_mask(self, name: str, data: bytes) -> Mask:
        file = self.path / MASKS / f"{name}.png"
        try:
            with Image.open(io.BytesIO(data)) as image:
                mode, mask = image.mode, np.array(image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise Corrupt(f"{file} cannot be read as a mask ({error})") from None
        if mode not in ("P", "L"):
            raise Corrupt(f"{file} is no mask: it must be a palette or an 8-bit gray PNG")
        foreign = mask[(mask >= len(self.classes)) & (mask != IGNORED)]
        if foreign.size:
            raise Corrupt(
                f"{file} has the value {foreign[0]}, and there are {len(self.classes)} classes "
                f"({_LABELS} in {self.path} names them)"
            )
        return mask


def write_scenes(
    folder: Path,
    per_class: int,
    seed: int,
    size: int,
    overwrite: bool = False,
    hybrids: int = 0,
) -> dict[str, int]:
    """Draw scenes with their exact masks into a folder of this layout.

    Args:
        folder: the folder, which is created.
        per_class: number of scenes of each of CLASSES; every fifth is for validation.
        seed: determines the scenes: as `stage scenes` numbers them, so that another seed draws
            none of its scenes.
        size: short side, in pixels.
        overwrite: whether existing files may be replaced.
        hybrids: number of further scenes with objects of two classes each, of every pair of CLASSES
            in turn; every fifth is for validation.

    Returns:
        Number of scenes by split.

    Raises:
        ConfigError: a file exists, or cannot be written.
    """
    splits: dict[str, list[str]] = {"train": [], "val": []}
    drawn: dict[str, Callable[[int, int], tuple[Pixels, Mask]]] = {}
    for label in CLASSES:
        for number in range(per_class):
            name = f"{label}-{seed}-{number:05d}"
            splits["val" if number % _EVERY == _EVERY - 1 else "train"].append(name)
            drawn[name] = partial(draw_both, label, seed * 1_000_000 + number)
    for number in range(hybrids):
        name = f"hybrid-{seed}-{number:05d}"
        splits["val" if number % _EVERY == _EVERY - 1 else "train"].append(name)
        drawn[name] = partial(_draw_hybrid, PAIRS[number % len(PAIRS)], seed * 1_000_000 + number)
    texts = {f"{_SPLITS}/{split}.txt": names for split, names in splits.items()}
    texts[_LABELS] = list(REGIONS)
    files = [f"{_PICTURES}/{name}.jpg" for name in drawn]
    files += [f"{MASKS}/{name}.png" for name in drawn]
    outputs = [folder / name for name in (*files, *texts)]
    check_outputs(outputs, overwrite=overwrite, new_folders=True)
    for name, draw in drawn.items():
        picture, mask = draw(size, round(size * 4 / 3))
        write_file(folder / _PICTURES / f"{name}.jpg", encode_jpeg(picture), overwrite)
        write_file(folder / MASKS / f"{name}.png", encode_mask(mask), overwrite)
    for name, lines in texts.items():
        write_file(folder / name, "".join(f"{line}\n" for line in lines).encode(), overwrite)
    return {split: len(names) for split, names in splits.items()}


def _draw_hybrid(
    labels: tuple[str, str], number: int, height: int, width: int
) -> tuple[Pixels, Mask]:
    drawn = draw_hybrid(labels, number, height, width)
    return drawn.picture, drawn.regions


def encode_mask(mask: Mask) -> bytes:
    """A mask, (height, width) uint8, as a PNG with PASCAL VOC's palette."""
    image = Image.fromarray(mask)
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _palette() -> bytes:
    """PASCAL VOC's colour map: the bits of a value, from low to high, fill r, g, b from the top."""
    colors = np.zeros((256, 3), np.uint8)
    values = np.arange(256)
    for bit in range(8):
        for channel in range(3):
            place = 3 * bit + channel
            if place < 8:
                colors[:, channel] |= ((values >> place & 1) << 7 - bit).astype(np.uint8)
    return colors.tobytes()


def resize_mask(mask: Mask, height: int, width: int) -> Mask:
    """A mask at another size, by the nearest pixel, as classes have no values in between."""
    scaled = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.array(scaled)
