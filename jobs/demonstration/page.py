"""The page, the contact sheets and the table of the demo."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from colorgan import load
from colorgan.data.dataset import Dataset
from colorgan.evaluation.page import render
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import decode, encode_png
from colorgan.inference.colorizer import grayscale
from colorgan.storage import Storage
from colorgan.training.progress import format_seconds
from jobs.demonstration.coloring import Colored

PHOTOGRAPHS = Path(__file__).parents[2] / "docs" / "photographs"  # in the public domain
PHOTOGRAPH_NAMES = ("chelsea", "rocket", "coffee", "astronaut")
SHEET_ROWS = 8

_FOLDER = "reports/demo"
_HEADINGS = (
    *("model", "test photographs", "L1 in ab, gray", "L1 in ab, coloured", "less error"),
    *("PSNR", "epochs", "training"),
)


def write_report(storage: Storage, dataset: Dataset, colored: Sequence[Colored]) -> tuple[str, str]:
    """Write the page and the contact sheet to storage; returns their locations."""
    rows = [
        SheetRow(f"{one.card.model} {number + 1}", pictures)
        for one in colored
        for number, pictures in enumerate(one.rows[:SHEET_ROWS])
    ]
    headings = ("grayscale", "coloured", "original")
    columns = len(colored) if all(len(one.rows) >= SHEET_ROWS for one in colored) else 1
    sheet = encode_png(contact_sheet(headings, rows, columns=columns))
    page = render(
        "demo.html.j2",
        templates="jobs.demonstration",
        manifest=dataset.manifest,
        architecture=colored[0].card.architecture,
        headings=_HEADINGS,
        rows=[_cells(one) for one in colored],
    )
    storage.put(f"{_FOLDER}/contact_sheet.png", sheet)
    storage.put(f"{_FOLDER}/photographs.png", _photographs())
    storage.put(f"{_FOLDER}/index.html", page.encode())
    return (
        storage.location(f"{_FOLDER}/index.html"),
        storage.location(f"{_FOLDER}/contact_sheet.png"),
    )


def _photographs() -> bytes:
    """A PNG of photographs coloured by the models included in colorgan."""
    color = load(models="embedded")
    rows = []
    for name in PHOTOGRAPH_NAMES:
        original = decode((PHOTOGRAPHS / f"{name}.jpg").read_bytes()).rgb
        gray = grayscale(original)
        rows.append(SheetRow(name, (gray, color(gray), original)))
    return encode_png(contact_sheet(("grayscale", "coloured", "original"), rows, columns=2))


def print_table(colored: Sequence[Colored]) -> None:
    """Print each model's error, PSNR and training time."""
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading)
    for one in colored:
        table.add_row(*_cells(one))
    (Console() if sys.stdout.isatty() else Console(width=130)).print(table)


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
