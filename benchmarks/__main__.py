"""`python -m benchmarks`: run benchmarks by name, or most of them.

    python -m benchmarks [NAME ...] [--quick | --full] [--json FILE] [--photos FOLDER] [--device …]
    python -m benchmarks router [PHOTO ...]
    python -m benchmarks serve_load --storage URI PHOTO...
    python -m benchmarks serve_memory [--one-process]

router, serve_load and serve_memory have further options if they are named alone: `python -m
benchmarks router --help`. Every benchmark is also a module: `python -m benchmarks.training_step`.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from benchmarks.face import Benchmark, add_options, run_all, settings_of
from colorgan.commands.process import take_any_text

# Descriptions by name.
BENCHMARKS = {
    "training_step": "a training step against the reference step",
    "inference": "the generator in use, and ways to be faster, against float32 eager",
    "pipeline": "the whole pipeline for one photograph, with its stages, against its networks",
    "router": "colorgan classify against the bare classifier",
    "film": "a film with carried colours against frame-by-frame colouring: flicker and speed",
    "staging": "staging against decoding and resizing alone; reading shards",
    "scaling": "how cost grows with photographs, pixels, batch, width and generators",
    "train_all": "three models at once on Ray, as processes, and one after the other",
    "old_prints": "old prints with and without --restore: routing and L1 (only when named)",
    "serve_load": "the service over HTTP against the bare pipeline (only when named)",
    "serve_memory": "memory of the service, idle and during an update (only when named)",
}
_ONLY_NAMED = ("old_prints", "serve_load", "serve_memory")
_WITH_OPTIONS = ("router", "serve_load", "serve_memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Run benchmarks; returns the exit status: 1 if one could not be run."""
    take_any_text()
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in _WITH_OPTIONS and not set(argv) & (BENCHMARKS.keys() - {argv[0]}):
        own: Callable[[Sequence[str]], int] = _module(argv[0]).main
        return own(argv[1:])
    listed = "\n".join(f"  {name:<14} {words}" for name, words in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nbenchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="which (default: see above)")
    add_options(parser)
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    names = args.names or [name for name in BENCHMARKS if name not in _ONLY_NAMED]
    benchmarks = {name: _loader(name) for name in names}
    return run_all(benchmarks, settings_of(args), args.json, args.overwrite)


def _loader(name: str) -> Callable[[], Benchmark]:
    def load() -> Benchmark:
        run: Benchmark = _module(name).run
        return run

    return load


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


if __name__ == "__main__":
    sys.exit(main())
