"""Train the models that are included in colorgan, and embed packages in colorgan.

    python scripts/pretrained.py train FOLDER FOLDER ...      stage, train, evaluate, embed
    python scripts/pretrained.py embed MODEL@VERSION ...      embed packages from storage

`make pretrained PHOTOS="FOLDER FOLDER"` runs the first command. Each folder contains SPLIT/CLASS/
or CLASS/. The script runs the project's own commands, and continues where it was interrupted. A
package is embedded without its sample pictures, because photographs do not belong in the
repository, and with a card for people, README.md.
"""

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from colorgan.commands.process import add_storage_option, guarded
from colorgan.data.dataset import Dataset, list_datasets, open_dataset
from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.evaluation.results import open_report
from colorgan.names import GENERAL
from colorgan.packages.card import EMBEDDED_VERSION, ModelCard, StoredFile, find
from colorgan.packages.weights import load_generator, pack
from colorgan.storage import Storage, open_storage
from colorgan.training.progress import format_seconds

CHECKOUT = Path(__file__).resolve().parents[1]
PRETRAINED = CHECKOUT / "colorgan" / "pretrained"
LARGEST = 16_000_000  # maximum size of all embedded packages together, in bytes
NAME = "pretrained"  # name of the dataset, the run and the report

_ALL_CLASSES = "all classes"  # label of the row for all classes in reports
_METRICS = {"metric-l1": "L1 in ab", "metric-colorfulness": "colourfulness"}
_LIMITS = (
    "It sees the photograph as a square of {size} px, so small things have the colours of what is "
    "around them.",
    "It invents colours that are likely, which need not be those that were there: a colouring is "
    "no evidence of what something looked like.",
    "It was trained on today's photographs without their colours. Faded, scratched or strongly "
    "toned prints look otherwise.",
)
_BIASES = (
    "Skin: what is rare in the training photographs is coloured as what is common in them. Nobody "
    "has measured the colours by people's skin tones; expect medium and light tones too often.",
    "Clothes: a uniform, a flag or a dress of a certain time has the colours that such a shape "
    "mostly has today, and blue, gray and brown more often than others.",
    "Paints of vehicles and buildings cannot be known from lightness, and are often pale.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pretrained.py", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    train = commands.add_parser("train", help="stage photographs, train every model, and embed it")
    train.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    train.add_argument(
        "--options", default="", metavar="'--epochs N ...'", help="more for each colorgan train"
    )
    train.set_defaults(command=_train)
    embed = commands.add_parser("embed", help="copy packages of a storage")
    embed.add_argument("packages", metavar="MODEL[@VERSION]", nargs="+")
    embed.add_argument("--report", metavar="NAME", help="an evaluation of them, for the cards")
    embed.set_defaults(command=_embed)
    for command in (train, embed):
        add_storage_option(command)
        command.add_argument("--into", metavar="FOLDER", type=Path, default=PRETRAINED)
        command.add_argument(
            "--provenance",
            metavar="CSV",
            type=Path,
            action="append",
            default=[],
            help="of photographs: columns file, source, licence",
        )
    args = parser.parse_args(argv)
    return guarded(lambda: args.command(args))


def _train(args: argparse.Namespace) -> int:
    if not args.folders:
        raise ConfigError('name the folders of photographs: make pretrained PHOTOS="FOLDER FOLDER"')
    storage = open_storage(args.storage)
    where = ["--storage", storage.uri]
    colorgan = ["-m", "colorgan"]
    if NAME not in [manifest.name for manifest in list_datasets(storage)]:
        sources = [f"folder:{folder}" for folder in args.folders]
        _run(*colorgan, "stage", *sources, "--dataset", NAME, "--hold-out", *where)
    classes = open_dataset(storage, NAME).manifest.classes
    on = ["--dataset", NAME, "--run", NAME, *args.options.split()]
    for model in (GENERAL, *classes):
        _run(*colorgan, "train", "--model", model, *on, *where)
    # Every model colours every photograph, so no router is needed, which might lack some classes.
    compared = ["--models", GENERAL, *classes]
    _run("jobs/evaluate.py", "--dataset", NAME, "--report", NAME, *compared, *where)
    for model in (GENERAL, *classes):
        card = embed(storage, model, args.into, NAME, args.provenance)
        print(f"embedded {card.reference}: {_bytes_of(card)} bytes")
    return 0


def _run(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], cwd=CHECKOUT)
    if done.returncode:
        named = " ".join([word for word in command if word != "-m"][:4])
        raise ColorganError(f"{named} failed; its output above says why")


def _embed(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    for reference in args.packages:
        card = embed(storage, reference, args.into, args.report, args.provenance)
        print(f"embedded {card.reference}: {_bytes_of(card)} bytes")
    return 0


def embed(
    storage: Storage,
    reference: str,
    folder: Path,
    report: str | None = None,
    provenance: Sequence[Path] = (),
) -> ModelCard:
    """Copy a package to the folder of embedded packages, and replace the model's package there.

    Args:
        storage: storage of the package and its dataset.
        reference: `model` or `model@version` of the package.
        folder: folder of embedded packages, such as colorgan/pretrained.
        report: name of an evaluation in storage that measured the package, before or after it was
            embedded.
        provenance: CSV files about photographs, with the columns file, source and licence.

    Returns:
        The card of the embedded package.

    Raises:
        NotInStorage: there is no such package, dataset or report.
        ColorganError: the embedded packages would exceed their size limit.
    """
    card = find(storage, reference)
    weights, encoder = pack(load_generator(storage, card))
    stamp = re.match(r"\d{8}-\d{6}", card.version)
    embedded = replace(
        card,
        version=EMBEDDED_VERSION + (stamp[0] if stamp else card.version),
        run="",  # a run of the user might have the same name
        encoder=encoder,
    )
    dataset = open_dataset(storage, card.dataset["name"])
    about = describe(embedded, _commit(), _photographs(dataset, card, provenance))
    if report:
        about += _measured(storage, report, card, {card.reference, embedded.reference})
    contents = {
        f"{card.kind}.safetensors": weights,
        "history.csv": storage.get(f"models/{card.model}/{card.version}/history.csv"),
        "README.md": about.encode(),
    }
    files = {
        name: StoredFile(len(data), hashlib.sha256(data).hexdigest())
        for name, data in contents.items()
    }
    embedded = replace(embedded, files=files)
    target = open_storage(str(folder))
    mine = folder / "models" / card.model
    others = sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_relative_to(mine)
    )
    if others + _bytes_of(embedded) > LARGEST:
        raise ColorganError(
            f"{card.reference} does not fit: the packages in {folder} may have {LARGEST:,} bytes "
            f"together, the others have {others:,}, and it has {_bytes_of(embedded):,}"
        )
    target.delete(f"models/{card.model}")
    for name, data in contents.items():
        target.put(f"models/{card.model}/{embedded.version}/{name}", data)
    target.put(f"models/{card.model}/{embedded.version}/model.json", embedded.to_json())
    pointer = json.dumps({"version": embedded.version}) + "\n"
    target.put(f"models/{card.model}/latest.json", pointer.encode())
    return find(target, embedded.reference)


def _bytes_of(card: ModelCard) -> int:
    return sum(file.bytes for file in card.files.values())


def describe(card: ModelCard, commit: str, photographs: Mapping[tuple[str, str], int]) -> str:
    """A description of a package for people, in Markdown.

    Args:
        card: card of the embedded package.
        commit: commit of the source code at which it is embedded.
        photographs: number of training photographs by (source, licence).
    """
    training = card.training
    started = f", from {training['start_from']}" if training.get("start_from") else ""
    lines = [
        f"# {card.reference}",
        "",
        f"Colours {'photographs of all kinds' if card.model == GENERAL else card.model}. It comes "
        f"with colorgan, and is used where your storage has no model `{card.model}`.",
        "",
        "## Training",
        "",
        f"- Published {card.created}, embedded at commit {commit}; colorgan "
        f"{card.versions['colorgan']}, torch {card.versions['torch']}.",
        f"- Schedule: {card.epochs} epochs of {card.photographs} photographs{started}, phases "
        f"{training.get('phases')}, batches of {training.get('batch_size')}, learning rate "
        f"{training.get('learning_rate')}; {format_seconds(card.seconds)} on {card.device}.",
        f"- Learned by: {card.objective}.",
        f"- Network: {card.kind}, {training.get('size')} px, width {training.get('width')}",
    ]
    if card.encoder:
        lines[-1] += (
            f"; its encoder is {card.encoder.classifier} of the package {card.encoder.package}, "
            f"SHA-256 {card.encoder.sha256}, which is not in here"
        )
    lines[-1] += "."
    validation = ", ".join(f"{name} {value:.4g}" for name, value in _validated(card).items())
    lines += [f"- On the validation photographs: {validation}.", "", "## Photographs", ""]
    lines += ["Weights only: no photograph is in this package.", ""]
    lines += ["| source | licence | photographs |", "| --- | --- | ---: |"]
    for (source, licence), count in sorted(photographs.items(), key=lambda item: -item[1]):
        lines.append(f"| {source} | {licence} | {count} |")
    limits = [limit.format(size=training.get("size")) for limit in _LIMITS]
    for heading, facts in (("Limits", limits), ("Known biases", _BIASES)):
        lines += ["", f"## {heading}", "", *(f"- {fact}" for fact in facts)]
    return "\n".join(lines) + "\n"


def _validated(card: ModelCard) -> dict[str, float]:
    names = ("val_l1", "val_psnr", "val_colorfulness", "val_distance", "vividness")
    return {name: card.metrics[name] for name in names if name in card.metrics}


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def _photographs(
    dataset: Dataset, card: ModelCard, provenance: Sequence[Path]
) -> Counter[tuple[str, str]]:
    """The number of a model's training photographs by source and licence; raises ColorganError."""
    if dataset.manifest.fingerprint != card.dataset["fingerprint"]:
        raise NotInStorage(
            f"dataset {card.dataset['name']} is another one than {card.reference} was trained on"
        )
    known: dict[str, tuple[str, str]] = {}
    for path in provenance:
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                known[str(path.resolve().parent / line["file"])] = (line["source"], line["licence"])
    manifest = dataset.manifest
    sources = [each.source for each in manifest.sources] or [manifest.source]
    names = [Path(source).name for source in sources]  # folders of the machine stay private
    found: Counter[tuple[str, str]] = Counter()
    for row in dataset.rows(card.classes, "train"):
        staged = (names[row.source_index or 0], row.licence or "not stated")
        found[known.get(row.source, staged)] += 1
    return found


def _measured(storage: Storage, name: str, card: ModelCard, references: set[str]) -> str:
    """A table of a report's results for all its models on a model's photographs, in Markdown.

    Args:
        storage: storage of the report.
        name: name of the report.
        card: card of the model.
        references: the model's references as published and as embedded.

    Raises:
        NotInStorage: there is no such report, or it did not measure the model.
    """
    report = open_report(storage, name)
    evaluation = report.evaluation
    if references.isdisjoint(each for one in evaluation.contestants for each in one.packages):
        raise NotInStorage(f"report {name} did not measure {card.reference}: evaluate it first")
    of = _ALL_CLASSES if card.model == GENERAL else card.model
    document: dict[str, Any] = json.loads(storage.get(report.key("report.json")))
    tables: dict[str, list[dict[str, Any]]] = document["tables"]
    rows = {
        contestant.name: [
            *(_cell(tables.get(key, []), of, contestant.name, "mean") for key in _METRICS),
            _cell(tables.get("frechet", []), of, contestant.name, "distance"),
        ]
        for contestant in evaluation.contestants
    }
    headings = ["model", *_METRICS.values(), f"Fréchet distance ({evaluation.judge})"]
    lines = [
        "",
        "## Measured",
        "",
        f"On {_count(tables, of)} photographs of the split {evaluation.split} ({of}) that were not "
        f"trained on, report `{name}` of {evaluation.created[:10]}; in brackets 95 % intervals.",
        "",
        "| " + " | ".join(headings) + " |",
        "| --- |" + " ---: |" * (len(headings) - 1),
        *(f"| {model} | {' | '.join(cells)} |" for model, cells in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(table: Sequence[Mapping[str, Any]], of: str, model: str) -> Mapping[str, Any]:
    return next((each for each in table if (each["class"], each["model"]) == (of, model)), {})


def _cell(table: Sequence[Mapping[str, Any]], of: str, model: str, value: str) -> str:
    line = _line(table, of, model)
    low, high = ("low", "high") if value == "mean" else (f"{value}_low", f"{value}_high")
    if line.get(value) is None:
        return "-"
    if None in (line.get(low), line.get(high)):
        return f"{line[value]:.2f}"
    return f"{line[value]:.2f} ({line[low]:.2f} to {line[high]:.2f})"


def _count(tables: Mapping[str, Sequence[Mapping[str, Any]]], of: str) -> int:
    return next((int(each["n"]) for each in tables.get("metric-l1", []) if each["class"] == of), 0)


if __name__ == "__main__":
    sys.exit(main())
