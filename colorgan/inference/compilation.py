"""Ahead-of-time compilation of networks for a CPU, by PyTorch's inductor with frozen weights.

Each network becomes two programs, for one photograph and for four. The second one processes a batch
in fours, and the first one the rest, one by one. A program for any batch size is slower, because
inductor packs the weights of transposed convolutions only for fixed sizes. For pix2pix's U-Net, so
is a program for eight, because its layers then no longer fit into the processor's cache.

Programs are machine code, so they never go to storage. They stay in the folder `compiled` of this
machine's cache (see `colorgan.data.cache`), and the next process loads them within a second.
"""

import copy
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colorgan.data.cache import cache_folder
from colorgan.errors import ColorganError
from colorgan.system import cpu_flags
from colorgan.temporary import temporary_folder

_KEPT = 48  # most recently used programs that a machine keeps

_FOUR = 4  # batch size of the second program


def compile_network(
    network: nn.Module, *example: Tensor, dtype: torch.dtype = torch.float32
) -> Callable[..., Any]:
    """Compile a network for inputs of one shape, or load its program from the cache.

    Compilation takes about 40 seconds on one core.

    Args:
        network: the network, in evaluation mode and on the CPU; it is not changed.
        example: one input, (1, ...) float32; several if the network takes several.
        dtype: the type to compute in: float32, or bfloat16 on a processor that has instructions to
            multiply it. On other processors PyTorch does not freeze bfloat16 weights.

    Returns:
        A function from (batch, ...) inputs of that `dtype` to the network's output for them: a
        tensor, or a tuple of tensors. It runs on as many threads as PyTorch uses now.

    Raises:
        ColorganError: there is no C++ compiler, PyTorch cannot compile the network, or the disk
            is full.
    """
    # A program assumes that its inputs have the memory layout of its example.
    single = _compiled(network, [each.contiguous() for each in example], dtype)
    repeated = [each.expand(_FOUR, *each.shape[1:]).contiguous() for each in example]
    four = _compiled(network, repeated, dtype)

    def compute(*batch: Tensor) -> Any:
        count = len(batch[0])
        fours = count // _FOUR * _FOUR
        ways = [(four, start, start + _FOUR) for start in range(0, fours, _FOUR)]
        ways += [(single, place, place + 1) for place in range(fours, count)]
        inputs = [each.contiguous() for each in batch]
        outputs = [run(*(each[start:end] for each in inputs)) for run, start, end in ways]
        if len(outputs) == 1:
            return outputs[0]
        if isinstance(outputs[0], Tensor):
            return torch.cat(outputs)
        return tuple(map(torch.cat, zip(*outputs, strict=True)))

    return compute


def _compiled(
    network: nn.Module, example: Sequence[Tensor], dtype: torch.dtype
) -> Callable[..., Any]:
    """The program for inputs of the example's shape."""
    folder = kept_folder()
    try:
        if folder:
            return _kept(folder, network, example, dtype)
        # Without a cache, the file is not needed once the program is loaded.
        with temporary_folder("compiled") as temporary:
            return _load(_compile(network, example, dtype, temporary))
    except OSError as error:
        raise ColorganError(f"cannot keep a compiled network: {error}") from error


def _kept(
    folder: Path, network: nn.Module, example: Sequence[Tensor], dtype: torch.dtype
) -> Callable[..., Any]:
    """Load a network's program from the folder; compile it if none there can be loaded."""
    path = folder / f"{_fingerprint(network, example, dtype)}.pt2"
    if path.exists():
        try:
            os.utime(path)
            return _load(path)
        except (OSError, RuntimeError):  # another process has removed it, or it is damaged
            path.unlink(missing_ok=True)
    with temporary_folder("compiled", folder) as temporary:
        made = _compile(network, example, dtype, temporary)
        loaded = _load(made)
        made.replace(path)
    with suppress(FileNotFoundError):  # another process may remove them at the same time
        for old in sorted(folder.glob("*.pt2"), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
            old.unlink()
    return loaded


def kept_folder() -> Path | None:
    """The folder of compiled networks; None if there is none to which only this user can write."""
    cache = cache_folder()
    if cache is None:
        return None
    folder = cache / "compiled"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    status = folder.stat()
    # Without user numbers, as on Windows, a user's folders are closed to others.
    private = not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & 0o022
    )
    return folder if private and os.access(folder, os.W_OK) else None


def _load(path: Path) -> Callable[..., Any]:
    from torch._inductor import aoti_load_package

    loaded: Callable[..., Any] = aoti_load_package(str(path))
    return loaded


def _compile(
    network: nn.Module, example: Sequence[Tensor], dtype: torch.dtype, folder: Path
) -> Path:
    if not any(map(shutil.which, (os.environ.get("CXX", ""), "c++", "g++", "clang++"))):
        raise ColorganError("compiling a network needs a C++ compiler, as g++: install one")
    from torch._dynamo.utils import counters
    from torch._inductor import aoti_compile_and_package

    packed = counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"]
    path = folder / "network.pt2"
    # One thread: inductor's pool of compiler processes would outlive the work.
    options = {"freezing": True, "compile_threads": 1}
    try:
        with torch.no_grad():  # inductor does not freeze weights that could be trained
            program = torch.export.export(
                copy.deepcopy(network).requires_grad_(False).to(dtype),
                tuple(each.to(dtype) for each in example),
            )
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)
    except Exception as error:  # inductor's, the compiler's and the linker's own
        reason = (str(error).splitlines() or [""])[0]
        raise ColorganError(
            f"PyTorch could not compile the network: {type(error).__name__}: {reason}"
        ) from error
    if counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"] == packed:
        raise ColorganError("PyTorch compiled the network, but did not freeze its weights")
    return path


def _fingerprint(network: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> str:
    """SHA-256 (hex) of all that determines the machine code: weights, code, versions, processor."""
    facts = {
        "network": f"{type(network).__qualname__} {network}",
        "inputs": [[*each.shape] for each in example],
        "dtype": str(dtype),
        "threads": torch.get_num_threads(),
        "processor": [platform.machine(), *cpu_flags()],
        "versions": [_version(name) for name in ("torch", "torchvision")],
    }
    digest = hashlib.sha256(json.dumps(facts).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
