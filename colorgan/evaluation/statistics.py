"""Statistics of an evaluation's results: means with intervals, paired tests and verdicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np
import numpy.typing as npt
import pandas as pd

from colorgan.evaluation.results import GRAY, IDENTITIES, METRICS, ORIGINAL

ALL_CLASSES = "all classes"  # cannot be the name of a class, which has no spaces
ALPHA = 0.05
RESAMPLES = 2000

# These judge the picture alone, or by a mask that people drew. All others compare it with the
# original, whose own value is then perfect by definition and says nothing.
ABSOLUTE = ("colorfulness", "semantic", "mask_accuracy", "mask_iou")

# Higher values of these are neither better nor worse.
DESCRIPTIVE = ("colorfulness",)

CHUNK = 1 << 22  # numbers that a bootstrap draws at once
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean and the bounds of its 95 % confidence interval; NaN if it has none."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two contestants, compared on the photographs for which both have a value.

    Attributes:
        metric: the metric's name in METRICS.
        first: a contestant.
        second: another contestant.
        photographs: number of photographs compared.
        difference: mean of the first minus the second over the photographs, in the metric's unit,
            with its interval.
        rank: rank sum of the photographs where the first has more, minus that of the others.
        p: p-value of the two-sided Wilcoxon signed-rank test.
        p_holm: the same, corrected for all comparisons that were made together (Holm 1979).
        better: the contestant that the photographs show to be better, or an empty string.
    """

    metric: str
    first: str
    second: str
    photographs: int
    difference: Estimate
    rank: float
    p: float
    p_holm: float
    better: str

    @property
    def worse(self) -> str:
        """The other contestant; an empty string if neither is better."""
        return {self.first: self.second, self.second: self.first}.get(self.better, "")


@dataclass(frozen=True)
class Verdict:
    """The verdict of a metric on the colouring contestants.

    Attributes:
        metric: the metric's name in METRICS.
        contestants: the contestants that have values, best mean first.
        winner: the contestant that is shown to be better than every other one, or an empty string.
        comparisons: the comparisons of all pairs.
    """

    metric: str
    contestants: tuple[str, ...]
    winner: str
    comparisons: tuple[Comparison, ...]

    @property
    def shown(self) -> tuple[Comparison, ...]:
        """The pairs that the photographs show to differ."""
        return tuple(each for each in self.comparisons if each.better)


@dataclass(frozen=True)
class Analysis:
    """All statistics of an evaluation's results.

    Attributes:
        description: as `describe` returns it.
        verdicts: the verdicts by metric.
        against_gray: by metric, the comparisons of all colouring contestants with no colour at all.
    """

    description: pd.DataFrame
    verdicts: Mapping[str, Verdict]
    against_gray: Mapping[str, tuple[Comparison, ...]]

    def estimate(self, metric: str, model: str, group: str = ALL_CLASSES) -> Estimate:
        """The mean of a contestant and its interval; NaN if there is none."""
        frame = self.description
        here = (frame["metric"] == metric) & (frame["model"] == model) & (frame["class"] == group)
        for _, row in frame[here].iterrows():
            return Estimate(float(row["mean"]), float(row["low"]), float(row["high"]))
        return Estimate(float("nan"), float("nan"), float("nan"))


def analyze(results: pd.DataFrame, seed: int = 0) -> Analysis:
    """Compute all statistics.

    The comparisons of all metrics, among the colouring contestants and with gray, are corrected
    together, because among many metrics one differs by chance.

    Args:
        results: as `Report.results` returns them.
        seed: seed of the bootstrap.
    """
    metrics = metrics_of(results)
    pairs = {metric: compare(results, metric, seed=seed) for metric in metrics}
    against = {
        metric: compare(results, metric, [(model, GRAY) for model in colorers(results)], seed)
        for metric in metrics
        if metric not in DESCRIPTIVE and GRAY in set(results["model"])
    }
    tests = [*pairs.values(), *against.values()]
    corrected = iter(correct([each for several in tests for each in several]))
    pairs, against = (
        {metric: tuple(islice(corrected, len(several))) for metric, several in tested.items()}
        for tested in (pairs, against)
    )
    verdicts = {metric: judge(results, metric, pairs[metric]) for metric in metrics}
    return Analysis(describe(results, seed), verdicts, against)


def metrics_of(results: pd.DataFrame) -> tuple[str, ...]:
    """The metrics that have any finite value, in the order of METRICS."""
    there = (name for name in METRICS if name in results.columns)
    return tuple(name for name in there if np.isfinite(_floats(results[name])).any())


def contestants_of(results: pd.DataFrame) -> tuple[str, ...]:
    """The contestants in the order in which the results name them."""
    return tuple(str(name) for name in results["model"].unique())


def colorers(results: pd.DataFrame) -> tuple[str, ...]:
    """The contestants that colour: all but the identities."""
    return tuple(name for name in contestants_of(results) if name not in IDENTITIES)


def groups(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The results of all classes together, then those of each class if there are several."""
    names = sorted(str(name) for name in results["class"].unique())
    several = names if len(names) > 1 else []
    return {ALL_CLASSES: results, **{name: results[results["class"] == name] for name in several}}


def values_of(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric's values: one line per photograph, one column per contestant; NaN if missing."""
    wide = results.pivot(index="photo", columns="model", values=metric).astype(float)
    return wide.reindex(columns=list(contestants_of(results))).replace([np.inf, -np.inf], np.nan)


def bootstrap_mean(values: npt.ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """A mean with its 95 % percentile bootstrap interval (Efron 1979) over photographs.

    Args:
        values: one value per photograph; those that are not finite are left out.
        seed: equal seeds draw equal resamples of equally many values.
        resamples: number of resamples.

    Returns:
        The estimate; its mean is NaN without any value, and its interval with fewer than two.
    """
    taken = _floats(values)
    taken = taken[np.isfinite(taken)]
    nothing = float("nan")
    if len(taken) < 2:
        return Estimate(float(taken[0]) if len(taken) else nothing, nothing, nothing)
    return Estimate(float(taken.mean()), *bootstrap_bounds([taken], np.mean, seed, resamples))


def bootstrap_bounds(
    columns: Sequence[Values],
    statistic: Callable[..., Values],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The bounds of the 95 % percentile bootstrap interval of a statistic of photographs.

    Args:
        columns: one or more values per photograph, (photographs,) each; a photograph's values are
            drawn together.
        statistic: called as `statistic(*drawn, axis=-1)` with (resamples, photographs) each. Where
            it is NaN, the resample is left out.
        seed: see `bootstrap_mean`.
        resamples: see `bootstrap_mean`.
    """
    from scipy.stats import bootstrap  # 40 MB that the service does not need

    drawn = bootstrap(
        columns,
        statistic,
        n_resamples=resamples,
        batch=max(1, CHUNK // len(columns[0])),
        vectorized=True,
        paired=True,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    low, high = np.nanquantile(drawn.bootstrap_distribution, [0.025, 0.975])
    return float(low), float(high)


def describe(results: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Statistics of every metric and contestant, overall and by class.

    Returns:
        One line per metric, class (ALL_CLASSES first) and contestant: metric, class, model, n,
        mean, low, high (the 95 % interval of the mean), median, sd (of the sample) and best (the
        count of `best_counts`; NaN for the identities). The original has no line for metrics that
        compare with it.
    """
    lines = []
    for metric in metrics_of(results):
        for group, part in groups(results).items():
            wide, best = values_of(part, metric), best_counts(part, metric)
            for model in contestants_of(results):
                if model == ORIGINAL and metric not in ABSOLUTE:
                    continue
                values = wide[model].dropna() if model in wide else pd.Series(dtype=float)
                estimate = bootstrap_mean(values, seed)
                lines.append(
                    {
                        "metric": metric,
                        "class": group,
                        "model": model,
                        "n": len(values),
                        "mean": estimate.mean,
                        "low": estimate.low,
                        "high": estimate.high,
                        "median": values.median(),
                        "sd": values.std(),
                        "best": best.get(model, float("nan")),
                    }
                )
    columns = ["metric", "class", "model", "n", "mean", "low", "high", "median", "sd", "best"]
    return pd.DataFrame(lines, columns=columns)


def best_counts(results: pd.DataFrame, metric: str) -> dict[str, float]:
    """On how many photographs each colouring contestant is the best one.

    A photograph counts if every colouring contestant that has the metric at all has a value for it.
    A tie is divided: two contestants get a half each.

    Returns:
        The counts by contestant, without those that have no value; they sum to the number of
        photographs.
    """
    wide = values_of(results, metric).reindex(columns=list(colorers(results)))
    wide = wide.dropna(axis=1, how="all").dropna(axis=0)
    if not len(wide.columns):
        return {}
    values = _floats(wide)
    sign = 1 if METRICS[metric].best == "highest" else -1
    top = sign * (sign * values).max(axis=1, keepdims=True)
    wins = _equal(values, top)
    shares = (wins / wins.sum(axis=1, keepdims=True)).sum(axis=0)
    return dict(zip(map(str, wide.columns), shares.tolist(), strict=True))


def compare(
    results: pd.DataFrame,
    metric: str,
    pairs: Iterable[tuple[str, str]] | None = None,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Compare contestants photograph by photograph.

    A contestant is called better if three things hold: p < 0.05 after Holm's correction, the
    interval of the mean difference excludes zero, and the signs of test and difference agree.

    Args:
        results: as `Report.results` returns them.
        metric: the metric's name in METRICS.
        pairs: pairs of contestants; by default all pairs of colouring ones. They are corrected
            together; `correct` does so for comparisons of several metrics.
        seed: seed of the bootstrap.

    Returns:
        A comparison for every pair in which both contestants have values.
    """
    wide = values_of(results, metric)
    there = [str(model) for model in wide.columns if wide[model].notna().any()]
    if pairs is None:
        pairs = combinations([model for model in there if model not in IDENTITIES], 2)
    comparisons = []
    for first, second in pairs:
        if not {first, second} <= set(there):
            continue
        one, other = _floats(wide[[first, second]].dropna()).T
        difference = np.where(_equal(one, other), 0, one - other)
        p, rank = signed_rank(difference)
        estimate = bootstrap_mean(difference, seed)
        comparisons.append(
            Comparison(metric, first, second, len(difference), estimate, rank, p, p, "")
        )
    return correct(comparisons)


def correct(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct comparisons for all of them, and decide which contestant is better; see `compare`."""
    corrected = []
    p_holm = holm([each.p for each in comparisons])
    for each, p in zip(comparisons, p_holm, strict=True):
        rank, estimate = each.rank, each.difference
        agree = p < ALPHA and ((rank > 0 and estimate.low > 0) or (rank < 0 and estimate.high < 0))
        first_is_better = (rank > 0) == (METRICS[each.metric].best == "highest")
        better = (each.first if first_is_better else each.second) if agree else ""
        corrected.append(replace(each, p_holm=p, better=better))
    return tuple(corrected)


def signed_rank(differences: Values) -> tuple[float, float]:
    """The Wilcoxon signed-rank test (Wilcoxon 1945), without photographs that do not differ.

    Returns:
        The two-sided p-value, 1 if nothing differs, and the rank sum of the positive differences
        minus that of the negative ones, whose sign is the direction.
    """
    some = differences[differences != 0]
    if not len(some):
        return 1.0, 0.0
    from scipy.stats import rankdata, wilcoxon

    rank = float((np.sign(some) * rankdata(np.abs(some))).sum())
    return float(wilcoxon(some).pvalue), rank


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for multiple comparisons by Holm's step-down procedure (Holm 1979)."""
    corrected = [0.0] * len(p)
    floor = 0.0
    for done, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        floor = max(floor, min(1.0, (len(p) - done) * p[place]))
        corrected[place] = floor
    return corrected


def judge(
    results: pd.DataFrame, metric: str, comparisons: Sequence[Comparison] | None = None
) -> Verdict:
    """The verdict of a metric: the colouring contestant that is better than all others, if any.

    Args:
        results: as `Report.results` returns them.
        metric: the metric's name in METRICS.
        comparisons: those of all pairs of colouring contestants; by default those of `compare`.
    """
    comparisons = compare(results, metric) if comparisons is None else comparisons
    means = values_of(results, metric).reindex(columns=list(colorers(results))).mean().dropna()
    ordered = means.sort_values(ascending=METRICS[metric].best == "lowest", kind="stable")
    names = tuple(str(name) for name in ordered.index)
    wins = [each.better for each in comparisons]
    winners = [name for name in names if len(names) > 1 and wins.count(name) == len(names) - 1]
    return Verdict(metric, names, winners[0] if winners else "", tuple(comparisons))


def _floats(values: npt.ArrayLike) -> Values:
    return np.asarray(values, dtype=np.float64)


def _equal(one: Values, other: Values) -> npt.NDArray[np.bool_]:
    # The same picture may differ in the last bits if it was coloured in another batch.
    return np.isclose(one, other, rtol=1e-6, atol=1e-9)


@dataclass(frozen=True)
class PowerLaw:
    """y = c x^exponent, and the share of the logarithms' variance that it explains."""

    exponent: float
    r_squared: float


def fit_power_law(xs: Sequence[float], ys: Sequence[float]) -> PowerLaw:
    """Fit a power law by least squares of log y on log x."""
    line_x, line_y = np.log(np.asarray(xs, float)), np.log(np.asarray(ys, float))
    slope, start = np.polyfit(line_x, line_y, 1)
    total = float(((line_y - line_y.mean()) ** 2).sum())
    left = float(((line_y - (start + slope * line_x)) ** 2).sum())
    return PowerLaw(float(slope), 1 - left / total if total else 1.0)
