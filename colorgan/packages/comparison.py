"""The rule that decides whether a version of a model may replace the released one.

docs/releases.md states this rule for users. It compares what the cards record and runs no network.
"""

from dataclasses import dataclass

from colorgan.models.architectures import HeadConfig
from colorgan.packages.card import ModelCard


@dataclass(frozen=True)
class Verdict:
    """Whether the rule accepts a version as a release, and the reason, as a clause."""

    accepted: bool
    reason: str


@dataclass(frozen=True)
class _Metric:
    """A metric of the validation split, of which the value nearer to `ideal` is the better one.

    A value is worse than another if its distance from `ideal` is more than
    `(1 + relative) * other's + absolute`. These tolerances cover what repeated trainings differ by.
    """

    name: str
    words: str
    ideal: float = 0.0
    relative: float = 0.0
    absolute: float = 0.0
    text: str = "{:.2f}"

    def is_worse(self, value: float, other: float) -> bool:
        limit = abs(other - self.ideal) * (1 + self.relative) + self.absolute
        return not abs(value - self.ideal) <= limit  # NaN is worse

    def show(self, value: float) -> str:
        return self.text.format(value)


# A network whose side is shorter than this share of another's is the smaller one. The presets best
# (224 px) and report (256 px) may therefore replace each other, and 128 px does not replace 256.
_SIDE = 0.75

# L1 alone would prefer pale pictures: it is lowest before a generator meets its adversary.
_METRICS = (
    _Metric("val_l1", "L1", relative=0.02),
    _Metric("val_distance", "Fréchet distance", relative=0.05),
    _Metric("val_colorfulness", "colourfulness", ideal=1.0, absolute=0.05, text="{:.0%}"),
    _Metric("val_mean_iou", "mean IoU", ideal=1.0, absolute=0.01, text="{:.1%}"),
    _Metric("val_precision", "average precision", ideal=1.0, absolute=0.01, text="{:.1%}"),
    _Metric("val_accuracy", "accuracy", ideal=1.0, absolute=0.01, text="{:.1%}"),
)


def judge(card: ModelCard, released: ModelCard | None) -> Verdict:
    """Decide whether a version may replace the released version of its model.

    Two versions are measured on the same split if their datasets have the same fingerprint and
    their networks the same size: the split is always `val`, whose photographs are cropped to that
    size. Otherwise their metrics cannot be compared, and the training must not be a smaller one.

    Args:
        card: the version.
        released: the released version or, if there is none, the model of this name that comes with
            colorgan; None if there is neither.
    """
    if released and _adds_noise(card, released):
        return Verdict(True, f"it has the colours of {released.reference}, and noise")
    if released and card.epochs == 1 < released.epochs:
        return Verdict(
            False, f"it was trained for 1 epoch, and {released.reference} for {released.epochs}"
        )
    if card.metrics.get("val_precision") == 0.0:
        return Verdict(False, "it has found no object of the validation split")
    if released is None or released.embedded:
        return Verdict(True, f"it is the first release of {card.model}")
    if _split(card) == _split(released):
        return _compare(card, released)
    other = (
        f"{released.reference}, which was trained on another dataset"
        if card.dataset.get("fingerprint") != released.dataset.get("fingerprint")
        else f"{released.reference}, which has another size"
    )
    smaller = _smaller(card, released)
    if smaller:
        return Verdict(
            False,
            f"its metrics cannot be compared with those of {other}, and its training is smaller: "
            f"{smaller}",
        )
    return Verdict(
        True,
        f"its metrics cannot be compared with those of {other}, but its training is not smaller",
    )


def _adds_noise(card: ModelCard, released: ModelCard) -> bool:
    """Whether a version is the released one with noise, so that its first variant is the same."""
    training = card.training
    return (
        bool(training.get("noise_only"))
        and training.get("start_from") == released.reference
        and _size(card) == _size(released)
    )


def _split(card: ModelCard) -> tuple[str | None, int]:
    """What identifies the photographs on which a version was measured."""
    return card.dataset.get("fingerprint"), _size(card)


def _size(card: ModelCard) -> int:
    """The size of a network's input in pixels; 0 for a router's head."""
    return 0 if isinstance(card.architecture, HeadConfig) else card.architecture.size


def _compare(card: ModelCard, released: ModelCard) -> Verdict:
    both = [
        (metric, card.metrics[metric.name], released.metrics[metric.name])
        for metric in _METRICS
        if metric.name in card.metrics and metric.name in released.metrics
    ]
    where = f"on the validation split of {card.dataset.get('name')}"
    worse = [each for each in both if each[0].is_worse(each[1], each[2])]
    shown = [
        f"{metric.words} {metric.show(ours)} instead of {metric.show(theirs)}"
        for metric, ours, theirs in worse or both
    ]
    than = f"than {released.reference} {where}: {', '.join(shown) or 'they share no metric'}"
    return Verdict(not worse, f"it is {'worse' if worse else 'not worse'} {than}")


def _smaller(card: ModelCard, released: ModelCard) -> str:
    """In which respect a training is smaller than another one; empty if in none."""
    triples = (
        ("px", _size(card), _size(released), _SIDE),
        ("photographs", card.photographs, released.photographs, 1.0),
    )
    return ", ".join(
        f"{ours} {unit} instead of {theirs}"
        for unit, ours, theirs, share in triples
        if ours < share * theirs
    )
