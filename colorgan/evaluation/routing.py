"""Evaluating the router: its confusion matrix, and what its errors cost."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from colorgan.data.dataset import Dataset
from colorgan.data.mapping import batched
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels, decode
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.inference.router import UNSURE, LabelRouter, Route, Router
from colorgan.metrics import ab_l1
from colorgan.training.router_head import embed

PEOPLE = "people"
_BATCH = 8
_EXAMPLES = 12


@dataclass(frozen=True)
class Confusion:
    """How often photographs of each class were sent to each class.

    Attributes:
        name: what was routed, and how.
        classes: the true classes, in the order of the rows.
        answers: the possible answers of the router, in the order of the columns: classes, `unsure`.
        counts: (classes, answers) numbers of photographs.
    """

    name: str
    classes: tuple[str, ...]
    answers: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The share of all photographs that were sent to their class."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def recall(self) -> dict[str, float]:
        """By class, the share of its photographs that were sent to it."""
        rights = np.diag(self.counts) / self.counts.sum(axis=1).clip(min=1)
        return dict(zip(self.classes, rights.tolist(), strict=True))

    def type_1_error(self, name: str) -> float:
        """The share of the other classes' photographs that were sent to this class."""
        place = self.classes.index(name)
        others = np.delete(self.counts, place, axis=0)
        return float(others[:, place].sum() / max(1, others.sum()))

    def type_2_error(self, name: str) -> float:
        """The share of this class's photographs that were sent elsewhere."""
        return 1 - self.recall[name]


# The confusion matrix of the 2018 report's VGG-16, in percent of each class.
REPORT = Confusion(
    "the 2018 report: VGG-16 (percent)",
    ("animals", "people", "vehicles"),
    ("animals", "people", "vehicles"),
    np.array([[100, 0, 0], [11, 85, 4], [0, 13, 87]]),
)


def evaluate_router(
    router: Router,
    dataset: Dataset,
    split: str,
    observe: Callable[[str, int], None] = lambda word, done: None,
) -> list[Confusion]:
    """Route a split as gray and as colour photographs, with and without the rule's threshold.

    Args:
        router: the router to evaluate.
        dataset: the dataset, whose classes the router must know.
        split: train, val or test.
        observe: called with `gray` or `colour` and the number of photographs done.

    Raises:
        ColorganError: the split has no photograph, or one cannot be read.
    """
    classes = dataset.manifest.classes
    confusions = []
    for word in ("gray", "colour"):
        seen = embed(
            router.classifier,
            dataset,
            classes,
            split,
            word == "gray",
            partial(observe, word),
        )
        for name, variant in _variants(router):
            routes = variant.decide(seen.features, seen.probabilities)
            confusions.append(_confusion(f"{word}{name}", classes, seen.targets, routes))
    return confusions


def _variants(router: Router) -> list[tuple[str, Router]]:
    if not isinstance(router, LabelRouter):
        return [("", router)]
    rule = router.rule
    without = LabelRouter(router.classifier, replace(rule, threshold=0.0))
    return [(f", {rule.threshold:g} rule", router), (", no threshold", without)]


def _confusion(
    name: str, classes: tuple[str, ...], targets: Tensor, routes: Sequence[Route]
) -> Confusion:
    sent = {route.photo_class for route in routes}
    extra = sorted(sent - {*classes, UNSURE}) + ([UNSURE] if UNSURE in sent else [])
    answers = (*classes, *extra)
    counts = np.zeros((len(classes), len(answers)), np.int64)
    for target, route in zip(targets.tolist(), routes, strict=True):
        counts[target, answers.index(route.photo_class)] += 1
    return Confusion(name, classes, answers, counts)


def confusions_json(confusions: Sequence[Confusion]) -> list[dict[str, object]]:
    """The confusion matrices and the figures derived from them, for scripts."""
    return [
        {
            "name": confusion.name,
            "classes": confusion.classes,
            "answers": confusion.answers,
            "counts": confusion.counts.tolist(),
            "accuracy": confusion.accuracy,
            "recall": confusion.recall,
            **(
                {
                    "people_type_1_error": confusion.type_1_error(PEOPLE),
                    "people_type_2_error": confusion.type_2_error(PEOPLE),
                }
                if PEOPLE in confusion.classes
                else {}
            ),
        }
        for confusion in confusions
    ]


def confusions_csv(confusions: Sequence[Confusion]) -> bytes:
    """The matrices as CSV, one line per cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "class", "sent_to", "photographs"))
    for confusion in confusions:
        for label, row in zip(confusion.classes, confusion.counts.tolist(), strict=True):
            for answer, count in zip(confusion.answers, row, strict=True):
                writer.writerow((confusion.name, label, answer, count))
    return text.getvalue().encode()


def classifiers_table(confusions: Mapping[str, Sequence[Confusion]]) -> pd.DataFrame:
    """The matrices of several classifiers as one table.

    Args:
        confusions: by classifier, its matrices.

    Returns:
        One line per classifier, matrix and class: classifier, seen (the matrix's name), class,
        photographs, a column `-> answer` of counts for every answer, recall, type 1 error, and the
        matrix's accuracy.
    """
    lines = []
    for classifier, matrices in confusions.items():
        for each in matrices:
            for label, row in zip(each.classes, each.counts.tolist(), strict=True):
                sent = {f"-> {name}": n for name, n in zip(each.answers, row, strict=True)}
                lines.append(
                    {
                        "classifier": classifier,
                        "seen": each.name,
                        "class": label,
                        "photographs": sum(row),
                        **sent,
                        "recall": each.recall[label],
                        "type 1 error": each.type_1_error(label),
                        "accuracy": each.accuracy,
                    }
                )
    frame = pd.DataFrame(lines)
    answers = [name for name in frame.columns if name.startswith("-> ")]
    others = ["recall", "type 1 error", "accuracy"]
    frame[answers] = frame[answers].fillna(0).astype(int)
    heads = [name for name in frame.columns if name not in (*answers, *others)]
    return frame[[*heads, *answers, *others]]


def plot_confusions(confusions: Sequence[Confusion]) -> bytes:
    """A PNG of the matrices side by side, coloured by the share of each class."""
    from matplotlib.figure import Figure

    down = -(-len(confusions) // 3)
    figure = Figure(figsize=(12, 4.2 * down), layout="constrained")
    for number, confusion in enumerate(confusions):
        axes = figure.add_subplot(down, min(3, len(confusions)), number + 1)
        share = confusion.counts / confusion.counts.sum(axis=1, keepdims=True).clip(min=1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(confusion.answers)), confusion.answers, rotation=20)
        axes.set_yticks(range(len(confusion.classes)), confusion.classes)
        axes.set(title=f"{confusion.name}\naccuracy {confusion.accuracy:.1%}")
        axes.set(xlabel="sent to", ylabel="class")
        for (row, column), count in np.ndenumerate(confusion.counts):
            ink = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=ink)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


@dataclass(frozen=True)
class RoutedPhotograph:
    """A photograph, its route, and the errors of every class model on it.

    Attributes:
        source: the photograph's source.
        photo_class: the true class.
        route: the router's decision.
        hybrid: whether labels of a second class also reach the rule's threshold.
        errors: mean L1 in ab, in Lab units, by model; `gray` is the error without colour.
    """

    source: str
    photo_class: str
    route: Route
    hybrid: bool
    errors: Mapping[str, float]

    @property
    def sent_to(self) -> str:
        """The class model with which the assembled model colours it."""
        return self.route.best_class


def color_by_every_model(
    router: Router,
    colorizers: Mapping[str, Colorizer],
    dataset: Dataset,
    split: str,
    hybrid_from: float,
    observe: Callable[[int], None] = lambda done: None,
) -> list[RoutedPhotograph]:
    """Colour a split with every class model.

    Args:
        router: the router, whose routes are recorded.
        colorizers: the colorizers by class.
        dataset: the dataset of the photographs.
        split: train, val or test.
        hybrid_from: the score from which a second class makes a photograph a hybrid.
        observe: called with the number of photographs done.
    """
    turns: list[RoutedPhotograph] = []
    for rows in batched(dataset.rows(dataset.manifest.classes, split), _BATCH):
        originals = [decode(row.image).rgb for row in rows]
        routes = router(torch.stack([router.prepare(rgb) for rgb in originals]))
        colored = {name: colorizer(originals) for name, colorizer in colorizers.items()}
        colored["gray"] = [grayscale(rgb) for rgb in originals]
        for place, (row, original, route) in enumerate(zip(rows, originals, routes, strict=True)):
            errors = {name: _error(made[place], original) for name, made in colored.items()}
            second = sorted((0.0, *route.scores.values()))[-2]
            turns.append(
                RoutedPhotograph(row.source, row.label, route, second >= hybrid_from, errors)
            )
        observe(len(turns))
    return turns


def _error(colored: Pixels, original: Pixels) -> float:
    pair = torch.from_numpy(np.stack([colored, original])).permute(0, 3, 1, 2).float() / 255
    return float(ab_l1(pair[:1], pair[1:]))


def turns_table(turns: Sequence[RoutedPhotograph]) -> pd.DataFrame:
    """One line per photograph: class, sent_to, score, hybrid, right, and every model's error."""
    return pd.DataFrame(
        {
            "source": turn.source,
            "class": turn.photo_class,
            "sent_to": turn.sent_to,
            "score": turn.route.score,
            "right": turn.sent_to == turn.photo_class,
            "hybrid": turn.hybrid,
            **turn.errors,
        }
        for turn in turns
    )


def cost_of_wrong_turns(turns: Sequence[RoutedPhotograph]) -> pd.DataFrame:
    """Mean errors (L1 in ab) of groups of photographs.

    Returns:
        One line per group: number of photographs, then the error without colour, of the model that
        the router chose, of the true class's model, and of each photograph's best and worst model.
    """
    groups: dict[str, list[RoutedPhotograph]] = {
        "all": list(turns),
        "router right": [turn for turn in turns if turn.sent_to == turn.photo_class],
        "router wrong": [turn for turn in turns if turn.sent_to != turn.photo_class],
        "hybrid": [turn for turn in turns if turn.hybrid],
        "hybrid, router wrong": [t for t in turns if t.hybrid and t.sent_to != t.photo_class],
    }
    for label in dict.fromkeys(turn.photo_class for turn in turns):
        groups[label] = [turn for turn in turns if turn.photo_class == label]
    return pd.DataFrame([{"photographs of": name, **_means(g)} for name, g in groups.items()])


def _means(turns: Sequence[RoutedPhotograph]) -> dict[str, float]:
    models = [[e for name, e in turn.errors.items() if name != "gray"] for turn in turns]
    columns = {
        "gray": [turn.errors["gray"] for turn in turns],
        "router's model": [turn.errors[turn.sent_to] for turn in turns],
        "class's model": [turn.errors[turn.photo_class] for turn in turns],
        "best model": [min(errors) for errors in models],
        "worst model": [max(errors) for errors in models],
    }
    means = {name: float(np.mean(v)) if v else float("nan") for name, v in columns.items()}
    return {"photographs": len(turns), **means}


def worst_routed(turns: Sequence[RoutedPhotograph]) -> list[RoutedPhotograph]:
    """The routing errors that cost most, followed by the hybrids that another model suits better.

    The cost is the difference between the errors of the model that coloured a photograph and of
    its class's model, or, for a hybrid that went to its class's model, of the best other model.
    """

    def gain(turn: RoutedPhotograph) -> float:
        others = [e for name, e in turn.errors.items() if name not in (turn.sent_to, "gray")]
        return turn.errors[turn.sent_to] - min(others, default=float("inf"))

    wrong = [turn for turn in turns if turn.sent_to != turn.photo_class]
    wrong.sort(key=lambda turn: turn.errors[turn.photo_class] - turn.errors[turn.sent_to])
    hybrids = [turn for turn in turns if turn.hybrid and turn.sent_to == turn.photo_class]
    return wrong + sorted(hybrids, key=gain, reverse=True)


def misrouting_examples(
    turns: Sequence[RoutedPhotograph],
    dataset: Dataset,
    split: str,
    colorizers: Mapping[str, Colorizer],
) -> Pixels:
    """A contact sheet of the routing errors that cost most, followed by hybrids.

    Returns:
        (height, width, 3) uint8: rows of grayscale | the router's model | the class's | original.
    """
    shown = worst_routed(turns)[:_EXAMPLES] or list(turns)[:_EXAMPLES]
    places = {(turn.source, turn.photo_class): number for number, turn in enumerate(shown)}
    rows: list[SheetRow | None] = [None] * len(shown)
    for row in dataset.rows(dataset.manifest.classes, split):
        place = places.get((row.source, row.label))
        if place is None:
            continue
        turn, original = shown[place], decode(row.image).rgb
        (chosen,), (own,) = (
            colorizers[name]([original]) for name in (turn.sent_to, turn.photo_class)
        )
        word = "hybrid, " if turn.hybrid else ""
        caption = (
            f"{word}{turn.photo_class} sent to {turn.sent_to} "
            f"({turn.route.label or 'no label'}): L1 {turn.errors[turn.sent_to]:.1f}, "
            f"own model {turn.errors[turn.photo_class]:.1f}"
        )
        rows[place] = SheetRow(caption, (grayscale(original), chosen, own, original))
    headings = ("grayscale", "router's model", "class's model", "original")
    return contact_sheet(headings, [row for row in rows if row], columns=2)
