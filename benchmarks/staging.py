"""Staging against decoding and resizing alone, and reading shards against hashing them.

    python -m benchmarks.staging [--quick | --full] [--photos FOLDER] [--json FILE]

Staging is `stage()` from a local folder to local storage, with all its checks and comparisons. Its
references are Pillow with the same number of threads: decode and resize (LANCZOS, short side 286),
and the same with JPEG encoding. Reading is `Dataset.rows` over every shard; its reference reads the
same files and computes their SHA-256. All files are in the page cache.
"""

import hashlib
import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from benchmarks import photographs
from benchmarks.face import Settings, main_of, note
from benchmarks.measure import Result, Variant, interleave
from colorgan.data.dataset import SPLITS, Dataset
from colorgan.data.sources import FolderSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.storage import open_storage
from colorgan.temporary import temporary_folder

NAME = "staging"
REFERENCE = "Pillow: decode, resize"
ENCODING = "Pillow: decode, resize, encode"
STAGE = "colorgan stage"
CHECKING = "read, SHA-256"

_MIB = 2**20


def run(settings: Settings) -> list[Result]:
    """Measure staging and reading."""
    count = settings.pick(8, 240, 1500)
    with temporary_folder("bench") as folder:
        root = folder
        note(f"  {count} photographs")
        photographs.write(root / "photos" / "all", photographs.photographs(settings, count))
        return [*_stage(settings, root, count), *_read(settings, root)]


def _stage(settings: Settings, root: Path, count: int) -> list[Result]:
    paths = sorted((root / "photos" / "all").iterdir())
    storage = open_storage(str(root / "storage"))
    config = StagingConfig()
    threads = len(os.sched_getaffinity(0))

    def pillow(work: Callable[[Path], object]) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, paths):
                pass

    def staged() -> None:
        stage(FolderSource(root / "photos"), storage, "photos", config, replace=True)

    timings = interleave(
        [
            Variant(REFERENCE, lambda: pillow(lambda path: _resized(path, config.size))),
            Variant(ENCODING, lambda: pillow(lambda path: _encoded(path, config.size))),
            Variant(STAGE, staged),
        ],
        settings.rounds(),
    )
    case = f"{count} photographs, {threads} threads"
    rate = count / timings.median(STAGE)
    beside = Result(
        NAME,
        case,
        f"{STAGE}, against {ENCODING}",
        rate,
        "images/s",
        timings.speedup(STAGE, ENCODING),
    )
    return [*timings.results(NAME, case, "images/s", lambda seconds: count / seconds), beside]


def _resized(path: Path, size: int) -> Image.Image:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = size / min(rgb.size)
    width, height = (round(length * scale) for length in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS)


def _encoded(path: Path, size: int) -> bytes:
    file = io.BytesIO()
    _resized(path, size).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def _read(settings: Settings, root: Path) -> list[Result]:
    storage = open_storage(str(root / "storage"))
    # With small shards or photographs, most of the time would go into opening files.
    config = StagingConfig(shard_mib=16)
    source = FolderSource(root / "photos")
    dataset = stage(source, storage, "photos", config, replace=True).dataset
    files = [root / "storage/datasets/photos" / shard.key for shard in dataset.manifest.shards]
    size = sum(shard.bytes for shard in dataset.manifest.shards)

    def check() -> None:
        for path in files:
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")

    timings = interleave(
        [Variant(CHECKING, check), Variant("colorgan Dataset.rows", lambda: _rows(dataset))],
        settings.rounds(),
    )
    return timings.results(
        NAME, f"reading {size / _MIB:.0f} MiB", "MiB/s", lambda seconds: size / _MIB / seconds
    )


def _rows(dataset: Dataset) -> None:
    for split in SPLITS:
        for _ in dataset.rows(dataset.manifest.classes, split):
            pass


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
