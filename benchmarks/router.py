"""`colorgan classify` against the bare classifier on photographs that are ready in memory.

    python -m benchmarks.router PHOTO...

The command's speed is what further photographs cost it: its time for all of them less its time for
a few, so that Python's and PyTorch's start is not counted. Both are taken in turns.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from colorgan.images.decoding import decode
from colorgan.models.classifiers import Classifier, load_classifier

FEW = 16
BATCH = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print images a second and their ratio."""
    parser = argparse.ArgumentParser(prog="benchmarks.router", description=__doc__)
    parser.add_argument("photographs", metavar="PHOTO", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    paths: list[Path] = args.photographs
    if len(paths) <= FEW:
        parser.error(f"give more than {FEW} photographs")
    classifier = load_classifier()
    ready = torch.stack([classifier.view(decode(path.read_bytes()).rgb) for path in paths])
    ratios = []
    for number in range(args.rounds):
        bare = len(ready) / _bare(classifier, ready)
        command = (len(paths) - FEW) / (_command(paths) - _command(paths[:FEW]))
        ratios.append(command / bare)
        print(
            f"round {number + 1}: bare classifier {bare:.1f} images/s, colorgan classify "
            f"{command:.1f}, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return 0


def _bare(classifier: Classifier, ready: torch.Tensor) -> float:
    started = time.perf_counter()
    for batch in ready.split(BATCH):
        classifier(batch)
    return time.perf_counter() - started


def _command(paths: Sequence[Path]) -> float:
    command = [sys.executable, "-m", "colorgan", "classify", "--json", *map(str, paths)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
