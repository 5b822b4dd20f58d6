"""The contents of a section of the results, and the sentence that compares two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from colorgan.evaluation.figures import Figure
from colorgan.evaluation.results import METRICS
from colorgan.evaluation.statistics import Comparison
from colorgan.evaluation.tables import Table, interval


@dataclass(frozen=True)
class Picture:
    """A picture of a section; `file` is its path in the reproduction's folder."""

    file: str
    title: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A question and its answer.

    Attributes:
        name: name of the section's anchor.
        question: the question, shown as heading.
        report: what the 2018 report found.
        follows: conclusions from the numbers, one sentence each.
        tables: tables of the section.
        figures: figures of the section.
        pictures: pictures of the section.
        steps: names of the steps that produced the numbers; see `Step`.
    """

    name: str
    question: str
    report: str
    follows: Sequence[str]
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    pictures: Sequence[Picture] = ()
    steps: Sequence[str] = ()


def sentence(each: Comparison, named: Mapping[str, str] = MappingProxyType({})) -> str:
    """The mean difference of a pair of models, its interval, and whether it is significant.

    Args:
        each: the comparison of the pair.
        named: names to show instead of those in the comparison.
    """
    about = METRICS[each.metric]
    first, second, better = (
        named.get(name, name) for name in (each.first, each.second, each.better)
    )
    verdict = f"{better} is better" if better else "no difference shown"
    return (
        f"{about.title}, {first} minus {second}: "
        f"{interval(each.difference, about.decimals)} on {each.photographs} photographs: {verdict}."
    )
