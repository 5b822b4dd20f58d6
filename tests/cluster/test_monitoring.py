"""The dashboard, Prometheus' configuration and the page on them, against what the code tells."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import yaml

from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelRun
from serve.metrics import Metrics
from tests.conftest import CHECKOUT

GROUPING = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"
SELECTOR = r"\{([^}]*)\}"
MATCHER = r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\""


def dashboard() -> Any:
    return json.loads((CHECKOUT / "cluster/grafana/colorgan.json").read_text())


def prometheus() -> Any:
    return yaml.safe_load((CHECKOUT / "cluster/grafana/prometheus.yml").read_text())


@dataclass
class Series:
    """A metric's labels, each with the values that are known; none, where any may come."""

    labels: dict[str, set[str]] = field(default_factory=dict)


def training_series(monkeypatch: pytest.MonkeyPatch) -> dict[str, Series]:
    """What Ray's agents export of a training, from an epoch and a checkpoint of it."""
    import cluster.metrics

    found: dict[str, Series] = {}

    class Recorder:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            self.labels = found.setdefault(
                f"ray_{name}", Series({tag: set() for tag in tag_keys})
            ).labels

        def set_default_tags(self, tags: dict[str, str]) -> None:
            assert tags.keys() <= self.labels.keys()

        def set(self, value: float, tags: dict[str, str] | None) -> None:
            for tag, text in (tags or {}).items():
                self.labels[tag].add(text)

    monkeypatch.setattr(cluster.metrics, "Gauge", Recorder)
    spec = SimpleNamespace(run="a-run", model="animals", training=SimpleNamespace(epochs=3))
    training = cluster.metrics.TrainingMetrics(cast(ModelRun, spec), torch.device("cpu"))
    training.record(EpochRecord(1, 0.5, 0.9, 0.1, 9.0, 22.0, 30.0, 20.0, 3.0, 12.0, 0.7, 8.0))
    training.saved(1.5)
    assert found.keys() == {f"ray_{name}" for name in cluster.metrics.GAUGES}
    return found


def service_series() -> dict[str, Series]:
    """What the service exports."""
    found = {}
    for name, collector in Metrics().registry._names_to_collectors.items():
        labels: dict[str, set[str]] = {label: set() for label in vars(collector)["_labelnames"]}
        if name.endswith("_bucket"):
            labels["le"] = set()
        found[name] = Series(labels)
    return found


@pytest.fixture
def series(monkeypatch: pytest.MonkeyPatch) -> dict[str, Series]:
    return {**training_series(monkeypatch), **service_series()}


def panels() -> list[Any]:
    """All but the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str, str]]:
    """A panel's title, the query, and the legend of its lines."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def metrics_of(query: str) -> set[str]:
    """The names in a query that are neither functions nor labels nor variables."""
    bare = re.sub(GROUPING, " ", query)
    bare = re.sub(rf"{SELECTOR}|\[[^\]]*\]|\"[^\"]*\"", " ", bare)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - {"by", "without"}


def grouping_of(query: str) -> set[str]:
    """The labels that a query's result has; the outermost grouping is the first."""
    groups = re.findall(GROUPING, query)
    return {label.strip() for label in groups[0].split(",")} if groups else set()


def variables_of(text: str) -> set[str]:
    return set(re.findall(r"\$\{?(\w+)", text))


def test_metrics_are_found_in_a_query() -> None:
    query = (
        'sum by (le, x) (rate(one_total{y=~"$z", x="two"}[5m])) / avg(last_over_time(three[1h]))'
    )
    assert metrics_of(query) == {"one_total", "three"}
    assert grouping_of(query) == {"le", "x"}
    assert variables_of(query) == {"z"}


def test_every_query_asks_for_metrics_that_there_are(series: dict[str, Series]) -> None:
    for title, query, _ in queries():
        names = metrics_of(query)
        assert names, title
        assert names <= series.keys(), title


def test_every_label_of_a_query_is_one_of_its_metrics(series: dict[str, Series]) -> None:
    for title, query, legend in queries():
        shared = set.intersection(*(set(series[name].labels) for name in metrics_of(query)))
        for group in re.findall(GROUPING, query):
            assert {label.strip() for label in group.split(",")} <= shared, title
        for name, selector in re.findall(rf"(\w+){SELECTOR}", query):
            matchers = re.findall(MATCHER, selector)
            assert len(matchers) == selector.count(",") + 1, f"{title}: {selector}"
            for label, value in matchers:
                assert label in series[name].labels, title
                known = series[name].labels[label]
                assert not known or value in known or "$" in value, f"{title}: {label}={value}"
        assert set(re.findall(r"{{\s*(\w+)\s*}}", legend)) <= grouping_of(query), title


def test_every_metric_is_shown(series: dict[str, Series]) -> None:
    shown = set().union(*(metrics_of(query) for _, query, _ in queries()))
    training = {name for name in series if name.startswith("ray_")}
    assert training <= shown
    registry = Metrics().registry
    for family in registry.collect():
        collector = registry._names_to_collectors[family.name]
        names = {
            name for name, owner in registry._names_to_collectors.items() if owner is collector
        }
        assert names & shown, family.name


def test_every_value_of_a_training_label_is_shown(series: dict[str, Series]) -> None:
    # A label that a query does not match is shown with all its values, where the lines carry it.
    for name, metric in series.items():
        for label, values in metric.labels.items():
            shown: set[str] = set()
            for _, query, legend in queries():
                if name not in metrics_of(query):
                    continue
                matched = re.findall(rf'\b{label}="([^"]*)"', query)
                shown |= (
                    set(matched) if matched else (values if f"{{{{{label}}}}}" in legend else set())
                )
            assert values <= shown, f"{name}: {label}"


def test_a_training_query_bridges_the_time_between_epochs() -> None:
    # Ray shows a gauge for seconds after it was set, and a training sets its own once an epoch.
    for title, query, _ in queries():
        gauges = len(re.findall(r"\bray_colorgan_\w+", query))
        assert len(re.findall(r"last_over_time\(ray_colorgan_[^\[]*\[\$hold\]", query)) == gauges, (
            title
        )


def test_every_variable_is_defined_and_asks_for_what_there_is(series: dict[str, Series]) -> None:
    board = dashboard()
    defined = {variable["name"]: variable for variable in board["templating"]["list"]}
    used = variables_of(json.dumps(board["panels"]))
    assert {name for name in used if not name.startswith("__")} == defined.keys()
    assert (defined["datasource"]["type"], defined["datasource"]["query"]) == (
        "datasource",
        "prometheus",
    )
    for name in ("run", "model"):
        query = defined[name]["query"]["query"]
        (metric, label), *rest = re.findall(r"^label_values\((\w+)[^)]*, (\w+)\)$", query)
        assert not rest and label == name
        assert label in series[metric].labels
        assert defined[name]["definition"] == query


def test_every_panel_has_a_unit_and_asks_the_chosen_prometheus() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == source, panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) > 0, panel["title"]
        assert all(target["datasource"] == source for target in panel["targets"])


def test_panels_have_ids_and_places_of_their_own() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert [panel["title"] for panel in every if panel["type"] == "row"] == ["Training", "Service"]
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["y"] >= 0 and place["w"] > 0 and place["h"] > 0
        assert place["x"] + place["w"] <= 24, panel["title"]
    for one, other in combinations(every, 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one['title']} and {other['title']}"


def jobs() -> dict[str, Any]:
    return {job["job_name"]: job for job in prometheus()["scrape_configs"]}


def test_prometheus_finds_rays_machines_where_ray_writes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._common.utils import get_default_ray_temp_dir
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    folder = get_default_ray_temp_dir()  # type: ignore[no-untyped-call]
    (found,) = jobs()["ray"]["file_sd_configs"]
    assert found["files"] == [f"{folder}/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]


def test_prometheus_asks_before_ray_forgets_a_value() -> None:
    import ray

    seconds = int(prometheus()["global"]["scrape_interval"].removesuffix("s"))
    # Ray's agents keep a gauge for two of its intervals.
    assert seconds * 1000 < 2 * ray._config.metrics_report_interval_ms()
    assert "scrape_interval" not in jobs()["ray"]


def test_prometheus_asks_the_service_at_its_port() -> None:
    options = yaml.safe_load((CHECKOUT / "serve/production.yaml").read_text())["http_options"]
    job = jobs()["colorgan"]
    (group,) = job["static_configs"]
    assert group["targets"] == [f"{options['host']}:{options['port']}"]
    assert job.get("metrics_path", "/metrics") == "/metrics"


def test_the_page_has_every_metric_with_its_labels(series: dict[str, Series]) -> None:
    page = (CHECKOUT / "docs/monitoring.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", page, re.M)
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, _, labels in rows}
    families = {name: set(series[name].labels) for name in series if name.startswith("ray_")}
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        families[name] = set(series[name].labels)
    assert listed == families
