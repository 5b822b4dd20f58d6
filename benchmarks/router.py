"""`colorgan classify` against the bare classifier on preprocessed photographs in memory.

    python -m benchmarks.router [PHOTO ...] [--rounds N] [--json FILE]

The command's speed is measured as its time for all photographs minus its time for a few, which
excludes the start-up of Python and PyTorch. Both contenders take turns. Without PHOTO, drawn scenes
are used.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks import photographs
from benchmarks.face import Settings, add_options, run_all, settings_of
from benchmarks.measure import Result, Rounds, Variant, interleave
from colorgan.images.decoding import decode
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.temporary import temporary_folder

NAME = "router"
FEW = 16
BATCH = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print images per second and their ratio; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.router",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photographs", metavar="PHOTO", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int)
    add_options(parser)
    args = parser.parse_args(argv)
    paths: list[Path] = args.photographs
    if paths and len(paths) <= FEW:
        parser.error(f"give more than {FEW} photographs")
    benchmark = partial(run, paths=paths, rounds=args.rounds)
    benchmarks = {NAME: lambda: benchmark}
    return run_all(benchmarks, settings_of(args), args.json, args.overwrite, paths)


def run(settings: Settings, paths: Sequence[Path] = (), rounds: int | None = None) -> list[Result]:
    """Measure with photographs from `paths`, or without any, with those of the settings."""
    limits = settings.rounds(30)
    if rounds is not None:
        limits = Rounds(rounds, rounds)
    classifier = load_classifier()
    if paths:
        return _measure(classifier, paths, limits)
    with temporary_folder("bench") as folder:
        count = settings.pick(FEW + 8, 160, 400)
        photographs.write(Path(folder, "photos"), photographs.photographs(settings, count))
        return _measure(classifier, sorted(Path(folder, "photos").iterdir()), limits)


def _measure(classifier: Classifier, paths: Sequence[Path], rounds: Rounds) -> list[Result]:
    ready = torch.stack([classifier.view(decode(path.read_bytes()).rgb) for path in paths])

    def further() -> float:
        took = _command(paths) - _command(paths[:FEW])
        return took / (len(paths) - FEW) * len(paths)

    timings = interleave(
        [
            Variant("bare classifier", lambda: _bare(classifier, ready)),
            Variant("colorgan classify", further),
        ],
        # No minimum turn: the command always runs long enough, although its start is not counted.
        replace(rounds, turn=0.0),
    )
    case = f"{len(paths)} photographs"
    return timings.results(NAME, case, "images/s", lambda seconds: len(paths) / seconds)


def _bare(classifier: Classifier, ready: torch.Tensor) -> float:
    started = time.perf_counter()
    for batch in torch.split(ready, BATCH):
        classifier(batch)
    return time.perf_counter() - started


def _command(paths: Sequence[Path]) -> float:
    command = [sys.executable, "-m", "colorgan", "classify", "--json", *map(str, paths)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
