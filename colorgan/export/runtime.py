"""onnxruntime-web, with which browsers run ONNX models, as npm has it: one pinned version."""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from colorgan.errors import ColorganError, ConfigError
from colorgan.temporary import temporary_folder

NAME = "onnxruntime-web"
VERSION = "1.30.0"
PACKAGE = f"{NAME}-{VERSION}.tgz"

# SHA-512 of the package; npm calls it its integrity.
_INTEGRITY = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)

# What the page loads, and the files of the package. Both names have endings for which every server
# of static files knows the type.
RUNTIME_FILES = {
    "onnxruntime.js": "package/dist/ort.wasm.bundle.min.mjs",
    "onnxruntime.wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}

_PATIENCE_S = 900


def load_runtime(package: Path | None = None) -> dict[str, bytes]:
    """The files that a page needs, by name.

    Args:
        package: the package as `npm pack` writes it; by default npm fetches it.

    Raises:
        ConfigError: there is no npm, or no such file.
        ColorganError: npm cannot fetch the package, or it is another one than the pinned.
    """
    data = _fetched() if package is None else _read(package)
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if digest != _INTEGRITY:
        raise ColorganError(
            f"{package or PACKAGE} is not the {NAME} {VERSION} that this version of colorgan knows "
            "(its SHA-512 differs)"
        )
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for name, member in RUNTIME_FILES.items():
            file = archive.extractfile(member)
            assert file is not None, member
            files[name] = file.read()
    return files


def _read(package: Path) -> bytes:
    try:
        return package.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {package}: {error.strerror}") from None


def _fetched() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(
            f"there is no npm here, which fetches {NAME}: install it, or give the package as "
            f"--runtime {PACKAGE}"
        )
    with temporary_folder("npm") as folder:
        # Of the folder: a package.json of the user's would change what npm does.
        command = [npm, "pack", "--loglevel", "error", f"{NAME}@{VERSION}"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_S
            )
            reason = (done.stderr.strip().splitlines() or [""])[0]
        except subprocess.TimeoutExpired:
            reason = f"it has taken {_PATIENCE_S} s"
        except OSError as error:
            reason = str(error)
        package = folder / PACKAGE
        if package.exists():
            return package.read_bytes()
    raise ColorganError(
        f"npm cannot fetch {NAME} {VERSION}: {reason}; fetch {PACKAGE} on another machine by "
        f"`npm pack {NAME}@{VERSION}`, and give it as --runtime {PACKAGE}"
    )
