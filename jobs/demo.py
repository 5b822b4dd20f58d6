"""The whole story on this machine: stage photographs, train through `ray job submit`, colour, look.

`make demo` runs it on drawn scenes, `PHOTOS=folder make demo` on a folder of photographs. It has a
storage of its own, since models of scenes would otherwise colour photographs from then on. Its page
also shows what the models that come with colorgan make of four photographs.
"""

import argparse
import html
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from cluster.local import local_ray
from colorgan import load
from colorgan.commands.process import EXIT_FAULT, add_storage_option, guarded
from colorgan.data.dataset import Dataset
from colorgan.data.sources import SourceConfig, find_source
from colorgan.data.staging import StagingConfig, StagingProgress, stage
from colorgan.errors import ColorganError
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels, decode, encode_png
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.metrics import ab_l1, psnr
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage
from colorgan.training.progress import format_seconds

DATASET = "demo"
STORAGE = "artifacts/demo"
PHOTOGRAPHS = Path(__file__).parents[1] / "docs" / "photographs"  # that anyone may use
PHOTOGRAPH_NAMES = ("chelsea", "rocket", "coffee", "astronaut")
SCENES_PER_CLASS = 150
# Photographs shown to the networks in all, over the epochs: minutes on two cores. Scenes are simple
# enough to be learned from nothing; the preset `best` shows half of it to general first.
PASSES_ON_SCENES = 5_200
PASSES_ON_PHOTOGRAPHS = 8_000
SHEET_ROWS = 8


@dataclass(frozen=True)
class Colored:
    """A model's colourings of its class's test photographs.

    Attributes:
        card: the model.
        rows: (grayscale, coloured, original), each (height, width, 3) uint8.
        gray_l1: mean L1 in ab of leaving the photographs gray, in Lab units.
        model_l1: mean L1 in ab of the model.
        model_psnr: mean PSNR of the model, in dB.
    """

    card: ModelCard
    rows: list[tuple[Pixels, Pixels, Pixels]]
    gray_l1: float
    model_l1: float
    model_psnr: float

    @property
    def gain(self) -> float:
        """By which share the model's error is below that of leaving the photographs gray."""
        return 1 - self.model_l1 / self.gray_l1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit status."""
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__)
    add_storage_option(parser, STORAGE)
    parser.add_argument(
        "--photos", metavar="FOLDER", help="your photographs, a folder a class (default: scenes)"
    )
    args = parser.parse_args(argv)
    return guarded(lambda: _run(args.photos, open_storage(args.storage)))


def _run(photos: str | None, storage: Storage) -> int:
    started = time.monotonic()
    _say(f"1/4 staging {photos or 'scenes'}")
    dataset = _stage(photos, storage)
    classes = dataset.manifest.classes
    _say("2/4 starting Ray on this machine")
    with local_ray(Path.cwd()) as ray:
        _say("3/4 training: ray job submit -- python jobs/train_all.py")
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "job", "submit"),
            *("--address", ray.jobs_address, "--working-dir", ".", "--"),
            *("python", "jobs/train_all.py", "--dataset", DATASET, "--storage", storage.uri),
            *("--preset", "best" if photos else "small"),
            *("--epochs", str(_epochs(dataset, bool(photos)))),
        ]
        status = subprocess.run(command, env={**os.environ, **ray.environment}).returncode
    if status:
        print("error: the training job failed; its output above says why", file=sys.stderr)
        return EXIT_FAULT
    _say("4/4 colouring the test photographs")
    colored = [_color(storage, dataset, label) for label in classes]
    page, sheet = _report(storage, dataset, colored)
    _table(colored)
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

    staged = stage(source, storage, DATASET, replace=True, observe=observe)
    for drop in staged.dropped:
        print(f"dropped {drop.source}: {drop.reason}")
    dataset = staged.dataset
    for label, counts in dataset.manifest.counts.items():
        print(f"{label}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    return dataset


def _epochs(dataset: Dataset, photographs: bool) -> int:
    passes = PASSES_ON_PHOTOGRAPHS / 2 if photographs else PASSES_ON_SCENES
    return max(1, round(passes / dataset.count(dataset.manifest.classes, "train")))


def _color(storage: Storage, dataset: Dataset, label: str) -> Colored:
    """Colour the test photographs of a class with its model; raises ColorganError."""
    card = find(storage, label)
    colorizer = Colorizer(load_generator(storage, card))
    rows, gray_l1, model_l1, ratio = [], [], [], []
    for row in dataset.rows((label,), "test"):
        original = decode(row.image).rgb
        gray, (colored,) = grayscale(original), colorizer([original])
        rows.append((gray, colored, original))
        gray_l1.append(ab_l1(_unit(gray), _unit(original)))
        model_l1.append(ab_l1(_unit(colored), _unit(original)))
        ratio.append(psnr(_unit(colored), _unit(original)))
    if not rows:
        raise ColorganError(f"class {label!r} has no test photograph: give more photographs")
    means = [torch.cat(values).mean().item() for values in (gray_l1, model_l1, ratio)]
    return Colored(card, rows, *means)


def _unit(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255


def _report(storage: Storage, dataset: Dataset, colored: list[Colored]) -> tuple[str, str]:
    """Write the page and the contact sheet; returns where they are."""
    rows = [
        SheetRow(f"{one.card.model} {number + 1}", pictures)
        for one in colored
        for number, pictures in enumerate(one.rows[:SHEET_ROWS])
    ]
    headings = ("grayscale", "coloured", "original")
    columns = len(colored) if all(len(one.rows) >= SHEET_ROWS for one in colored) else 1
    sheet = encode_png(contact_sheet(headings, rows, columns=columns))
    storage.put("reports/demo/contact_sheet.png", sheet)
    storage.put("reports/demo/photographs.png", _photographs())
    storage.put("reports/demo/index.html", _page(dataset, colored).encode())
    return (
        storage.location("reports/demo/index.html"),
        storage.location("reports/demo/contact_sheet.png"),
    )


def _photographs() -> bytes:
    """A PNG of photographs as the models that come with colorgan colour them."""
    color = load(models="embedded")
    rows = []
    for name in PHOTOGRAPH_NAMES:
        original = decode((PHOTOGRAPHS / f"{name}.jpg").read_bytes()).rgb
        gray = grayscale(original)
        rows.append(SheetRow(name, (gray, color(gray), original)))
    return encode_png(contact_sheet(("grayscale", "coloured", "original"), rows, columns=2))


def _cells(one: Colored) -> tuple[str, ...]:
    return (
        one.card.reference,
        str(len(one.rows)),
        f"{one.gray_l1:.1f}",
        f"{one.model_l1:.1f}",
        f"{one.gain:.0%}",
        f"{one.model_psnr:.1f} dB",
        str(one.card.epochs),
        format_seconds(one.card.seconds),
    )


_HEADINGS = (
    *("model", "test photographs", "L1 in ab, gray", "L1 in ab, coloured", "less error"),
    *("PSNR", "epochs", "training"),
)


def _table(colored: list[Colored]) -> None:
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading)
    for one in colored:
        table.add_row(*_cells(one))
    (Console() if sys.stdout.isatty() else Console(width=130)).print(table)


def _page(dataset: Dataset, colored: list[Colored]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in _HEADINGS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(one)) + "</tr>"
        for one in colored
    )
    config = colored[0].card.architecture
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>colorgan: demo</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem;
         padding: 0 1rem; color: #222; background: #fafaf8; }}
  table {{ border-collapse: collapse; margin: 1rem 0; }}
  th, td {{ text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #ddd; }}
  img {{ max-width: 100%; height: auto; }}
</style>
<h1>Photographs coloured by class models</h1>
<p>Dataset <b>{html.escape(dataset.manifest.name)}</b>
({html.escape(dataset.manifest.source)}); generators of {config.size} px and width {config.width},
trained at the same time, each on the photographs of its own class. None of the photographs below
was seen in training. L1 in ab is the mean absolute error of colour in CIE Lab: 0 is perfect, and
"gray" is what leaving the photographs gray would score.</p>
<table><tr>{head}</tr>{body}</table>
<p><img src="contact_sheet.png"
  alt="Rows of test photographs: grayscale, coloured by the model, original"></p>
<h2>Real photographs</h2>
<p>So the models that come with colorgan colour four photographs that they were not trained on. The
colours are likely ones, not those that were there.</p>
<p><img src="photographs.png"
  alt="Four photographs: grayscale, coloured by the models that come with colorgan, original"></p>
</html>
"""


def _say(line: str) -> None:
    print(f"\n== {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
