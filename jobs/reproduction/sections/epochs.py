"""The section on how quality and stability develop over the epochs."""

import io
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from colorgan.evaluation.figures import Figure, draw_lines
from colorgan.evaluation.page import enumerated
from colorgan.evaluation.tables import Table, number
from colorgan.names import GENERAL
from colorgan.storage import Storage
from colorgan.sweeps.documents import Sweep, open_sweep, read_history
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.sections.section import Section
from jobs.reproduction.sections.trials import varied_values


def epochs_section(storage: Storage, reproduction: Reproduction) -> Section:
    """How quality and stability develop over the epochs."""
    histories = {
        model: _history(storage, reproduction, GENERAL if model == GENERAL else "classes", model)
        for model in (*reproduction.classes, GENERAL)
    }
    rows = [_fluctuation(model, history) for model, history in histories.items()]
    calmer = [row["model"] for row in rows if row["late_moves"] < row["early_moves"]]
    early = [row["model"] for row in rows if row["best_epoch"] < row["epochs"]]
    return Section(
        "epochs",
        "How many epochs?",
        "Colours were strong after 2 epochs and stable only after hundreds; the classes needed "
        "350, 200 and 300 epochs.",
        [
            f"The validation L1 changed less from epoch to epoch at the end than at the beginning "
            f"for {enumerated(calmer) or 'none'} of {len(rows)} models.",
            f"It was lowest before the last epoch for {enumerated(early) or 'none'}.",
        ],
        [_table(rows)],
        [_loss_curves(histories), *_quality_curves(storage, reproduction)],
        steps=("classes", GENERAL, "batches"),
    )


def _fluctuation(model: str, history: pd.DataFrame) -> dict[str, Any]:
    """A model's validation L1 after its first, best and last epoch, and how much it fluctuates."""
    losses = history["val_l1"].tolist()
    third = max(1, len(losses) // 3)
    moves = [abs(after - before) for before, after in pairwise(losses)]
    return {
        "model": model,
        "epochs": len(losses),
        "first": losses[0],
        "best": min(losses),
        "best_epoch": losses.index(min(losses)) + 1,
        "last": losses[-1],
        "early_moves": _mean(moves[:third]),
        "late_moves": _mean(moves[-third:]),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    data = pd.DataFrame(rows)
    shown = pd.DataFrame(
        {
            "Model": data["model"],
            "Epochs": data["epochs"].astype(str),
            "L1 after the first": [number(each, 2) for each in data["first"]],
            "Best": [number(each, 2) for each in data["best"]],
            "Best epoch": data["best_epoch"].astype(str),
            "Last": [number(each, 2) for each in data["last"]],
            "Mean change, first third": [number(each, 2) for each in data["early_moves"]],
            "Mean change, last third": [number(each, 2) for each in data["late_moves"]],
        }
    )
    return Table(
        "epochs",
        "Validation L1 by epoch",
        "A change is the absolute difference between two consecutive epochs, in Lab units; large "
        "changes mean an unstable training.",
        data,
        shown,
    )


def _loss_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    return draw_lines(
        "epochs",
        "Validation L1 over the epochs",
        "The plain cGANs; lower values are closer to the true colours.",
        {
            model: (history["epoch"].tolist(), history["val_l1"].tolist())
            for model, history in histories.items()
        },
        "epoch",
        "L1 in ab",
    )


def _quality_curves(storage: Storage, reproduction: Reproduction) -> list[Figure]:
    """The semantic score and the Fréchet distance over the epochs of the batch size sweep."""
    sweep = open_sweep(storage, reproduction.run("batches"))
    judged = {
        f"{name} a batch": _evaluated(storage, sweep, trial)
        for trial, name in varied_values(sweep, "batch_size").items()
    }
    return [
        draw_lines(
            f"epochs-{metric}",
            f"{title} over the epochs",
            f"The model {reproduction.swept} on its validation photographs, in the sweep over "
            "batch sizes.",
            {name: (frame["epoch"].tolist(), frame[metric].tolist()) for name, frame in own},
            "epoch",
            title,
        )
        for metric, title in (("semantic", "Semantic score"), ("frechet", "Fréchet distance"))
        if (own := [(n, f) for n, f in judged.items() if f[metric].notna().any()])
    ]


def _evaluated(storage: Storage, sweep: Sweep, trial: str) -> pd.DataFrame:
    records = read_history(storage, sweep, trial).evaluations
    return pd.DataFrame(
        [{"epoch": r.epoch, "semantic": r.semantic, "frechet": r.frechet} for r in records]
    ).astype(float)


def _history(storage: Storage, reproduction: Reproduction, part: str, model: str) -> pd.DataFrame:
    key = f"runs/{reproduction.run(part)}/{model}/history.csv"
    return pd.read_csv(io.BytesIO(storage.get(key)))


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else float("nan")
