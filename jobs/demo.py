"""Run all steps on this machine: stage photographs, train with `ray job submit`, colour, report.

`make demo` runs it on drawn scenes, `PHOTOS=folder make demo` on a folder of photographs. The demo
uses its own storage, because models trained on scenes would otherwise be used to colour
photographs. Its page also shows four photographs coloured by the models included in colorgan.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.local import local_ray
from colorgan.commands.process import EXIT_FAULT, add_storage_option, guarded
from colorgan.data.dataset import Dataset
from colorgan.data.sources import SourceConfig, find_source
from colorgan.data.staging import Execution, StagingConfig, StagingProgress, stage
from colorgan.storage import Storage, open_storage
from colorgan.training.progress import format_seconds
from colorgan.training.runs import find_base, new_run_name
from jobs.demonstration.coloring import color_test_photographs
from jobs.demonstration.page import print_table, write_report

DATASET = "demo"
STORAGE = "artifacts/demo"
SCENES_PER_CLASS = 150
# Number of training passes in total, which take minutes on two cores. Scenes are simple enough to
# train from scratch; on photographs, the preset `best` spends half of the passes on the general
# model first.
PASSES_ON_SCENES = 5_200
PASSES_ON_PHOTOGRAPHS = 8_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit status."""
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__)
    add_storage_option(parser, STORAGE)
    parser.add_argument(
        "--photos",
        metavar="FOLDER",
        help="your photographs, one folder per class (default: scenes)",
    )
    args = parser.parse_args(argv)
    return guarded(lambda: _run(args.photos, open_storage(args.storage)))


def _run(photos: str | None, storage: Storage) -> int:
    started = time.monotonic()
    _say(f"1/4 staging {photos or 'scenes'}")
    dataset = _stage(photos, storage)
    classes, run = dataset.manifest.classes, new_run_name("demo")
    _say("2/4 starting Ray on this machine")
    with local_ray(Path.cwd()) as ray:
        _say("3/4 training: ray job submit -- python jobs/train_all.py")
        command = [
            *(
                sys.executable,
                "-m",
                "ray.scripts.scripts",
                "--logging-level",
                "warning",
                "job",
                "submit",
            ),
            *("--address", ray.jobs_address, "--working-dir", ".", "--"),
            *("python", "jobs/train_all.py", "--dataset", DATASET, "--storage", storage.uri),
            *("--run", run, "--preset", "best" if photos else "small"),
            *("--epochs", str(_epochs(dataset, bool(photos)))),
        ]
        status = subprocess.run(command, env={**os.environ, **ray.environment}).returncode
    if status:
        print("error: the training job failed; its output above says why", file=sys.stderr)
        return EXIT_FAULT
    _say("4/4 colouring the test photographs")
    # These need not be the released ones: an earlier demo may have trained on more photographs.
    packages = {label: find_base(storage, run, label).reference for label in classes}
    colored = [
        color_test_photographs(storage, dataset, label, packages[label]) for label in classes
    ]
    page, sheet = write_report(storage, dataset, colored)
    print_table(colored)
    more = f"jobs/train_all.py --storage {storage.uri} --models {classes[0]} --epochs 40"
    print(
        f"\nDone in {format_seconds(time.monotonic() - started)}. Look at\n  {page}\n  {sheet}\n"
        "Try next\n"
        f"  .venv/bin/colorgan models --storage {storage.uri}\n"
        "  .venv/bin/colorgan colorize YOUR_PHOTO.jpg -o colored.png\n"
        f"  .venv/bin/python {more}\n"
        "  PHOTOS=FOLDER make demo      (your photographs: FOLDER/CLASS/*.jpg)"
    )
    return 0


def _stage(photos: str | None, storage: Storage) -> Dataset:
    spec = f"folder:{photos}" if photos else "scenes"
    wanted = SourceConfig(per_class=0 if photos else SCENES_PER_CLASS)
    source = find_source(spec, wanted, StagingConfig.size)
    shown = time.monotonic()

    def observe(progress: StagingProgress) -> None:
        nonlocal shown
        if time.monotonic() - shown > 3:
            shown = time.monotonic()
            usable = ", ".join(f"{label} {count}" for label, count in progress.usable.items())
            print(f"{progress.examined.total()} of {progress.known}: {usable}", flush=True)

    execution = Execution(observe=observe)
    staged = stage(source, storage, DATASET, replace=True, execution=execution)
    for drop in staged.dropped:
        print(f"dropped {drop.source}: {drop.reason}")
    dataset = staged.dataset
    for label, counts in dataset.manifest.counts.items():
        print(f"{label}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    return dataset


def _epochs(dataset: Dataset, photographs: bool) -> int:
    passes = PASSES_ON_PHOTOGRAPHS / 2 if photographs else PASSES_ON_SCENES
    return max(1, round(passes / dataset.count(dataset.manifest.classes, "train")))


def _say(line: str) -> None:
    print(f"\n== {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
