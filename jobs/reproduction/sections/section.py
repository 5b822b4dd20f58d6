"""What a section of the results consists of, and the sentence that compares two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from colorgan.evaluation.figures import Figure
from colorgan.evaluation.results import METRICS
from colorgan.evaluation.statistics import Comparison
from colorgan.evaluation.tables import Table, interval


@dataclass(frozen=True)
class Picture:
    """A picture of a section, kept under the reproduction's folder."""

    file: str
    title: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A question and its answer.

    Attributes:
        name: of its anchor.
        question: for people.
        report: what the 2018 report found.
        follows: what these numbers show, a sentence each.
        tables, figures, pictures: the numbers.
        steps: whose commands made it: see `Step`.
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
    """The mean difference of a pair, its interval, and whether it is beyond chance.

    Args:
        each: the pair.
        named: what is called otherwise than in the comparison.
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
