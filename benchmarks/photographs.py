"""Photographs for benchmarks: the user's own, or drawn scenes."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.face import Settings
from benchmarks.measure import Unavailable
from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.images.decoding import Pixels

# The size of most photographs in ImageNet.
WIDTH, HEIGHT = 500, 375
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# A scene takes longer to draw than to stage, so each is mirrored into four pictures.
_VIEWS = [
    (slice(None, None, down), slice(None, None, right)) for down in (1, -1) for right in (1, -1)
]


def photographs(settings: Settings, count: int) -> list[bytes]:
    """Read `count` encoded photographs from --photos, or draw scenes of 500 x 375 pixels as JPEG.

    Raises:
        Unavailable: the folder has fewer photographs.
    """
    if settings.photos is None:
        return list(scenes(count))
    paths = sorted(path for path in settings.photos.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if len(paths) < count:
        raise Unavailable(f"{settings.photos} holds {len(paths)} photographs of {count}")
    return [path.read_bytes() for path in paths[:count]]


def scenes(count: int) -> Iterator[bytes]:
    """Draw `count` scenes of 500 x 375 pixels, as JPEG."""

    def draw(number: int) -> Pixels:
        return draw_scene(CLASSES[number % len(CLASSES)], number, HEIGHT, WIDTH)

    with ThreadPoolExecutor() as pool:
        drawn = pool.map(draw, range(-(-count // len(_VIEWS))))
        views = (pixels[view] for pixels in drawn for view in _VIEWS)
        for pixels, _ in zip(views, range(count), strict=False):
            yield encode(pixels)


def encode(pixels: Pixels) -> bytes:
    """Encode pixels as a JPEG with chroma subsampling, as cameras do."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=92)
    return file.getvalue()


def large_photograph(settings: Settings) -> bytes:
    """A photograph of 4000 x 3000 pixels."""
    with Image.open(io.BytesIO(photographs(settings, 1)[0])) as small:
        pixels = np.asarray(small.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC))
    return encode(pixels)


def write(folder: Path, encoded: list[bytes]) -> None:
    """Write encoded photographs as numbered files to a new folder."""
    folder.mkdir(parents=True)
    for number, data in enumerate(encoded):
        (folder / f"{number:05d}.jpg").write_bytes(data)
