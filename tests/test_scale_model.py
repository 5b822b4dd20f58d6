"""The model of scale against cases worked out by hand, and the page that shows its tables."""

import json
from pathlib import Path

import pytest

from benchmarks import scale_model
from benchmarks.face import Settings
from benchmarks.scale_costs import measure
from benchmarks.scale_model import (
    DATA,
    Costs,
    color,
    cpu_step,
    makespan,
    read,
    step,
    train,
    train_all,
    works,
)
from benchmarks.scale_tables import number, predictions, tables
from tests.conftest import CHECKOUT

# A GPU of 100 GFLOP/s, whose steps start in no time, and 10 ms of a core for a photograph.
HAND = {
    "report_gflop": 10.0,
    "report_norms": 0,
    "report_gradient_bytes": 100.0,
    "stream_report": 0.010,
    "gpu_tflops": 0.2,
    "gpu_share": 0.5,
    "step_floor": 0.0,
    "data_processes": 4,
    "cpus_per_gpu": 8,
    "gpus_per_machine": 8,
    "nvlink_bytes_s": 1e12,
    "network_bytes_s": 8e3,
    "collectives": 0,
    "collective_latency": 0.0,
}


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs.of(read(DATA))


def test_a_step_takes_what_its_slowest_part_takes() -> None:
    one = step(Costs(HAND), "report", "report", 8, 1)
    assert (one.seconds, one.bottleneck) == (pytest.approx(0.8), "arithmetic")
    two = step(Costs(HAND), "report", "report", 8, 2)  # twice as fast, as nothing else saturates
    assert (two.seconds, two.bottleneck) == (pytest.approx(0.4), "arithmetic")
    slow = step(Costs({**HAND, "stream_report": 1.0}), "report", "report", 8, 2)
    assert (slow.seconds, slow.bottleneck) == (pytest.approx(4 * 1.0 / 4), "decoding")
    started = step(Costs({**HAND, "step_floor": 0.5}), "report", "report", 8, 8)
    assert (started.seconds, started.bottleneck) == (pytest.approx(0.5), "kernel starts")


def test_workers_on_several_machines_share_their_network() -> None:
    within = step(Costs(HAND), "report", "report", 16, 8)
    across = step(Costs(HAND), "report", "report", 16, 16)
    assert within.reduce == pytest.approx(100 * 2 * 7 / 8 / 1e12)
    assert across.reduce == pytest.approx(100 * 2 * 15 / 16 / 1e3)
    assert (across.seconds, across.bottleneck) == (pytest.approx(0.1 + across.reduce), "all-reduce")


def test_a_training_takes_its_steps_of_every_epoch() -> None:
    assert works("report", "cats") == {"report": 300}
    assert works("best", "general") == pytest.approx({"best_regression": 14, "best_adversarial": 5})
    assert works("best", "cats") == pytest.approx({"best_adversarial": 3})
    made = train(Costs(HAND), "report", "cats", photographs=20, batch=8, workers=1)
    assert made.hours == pytest.approx(300 * 3 * 0.8 / 3600)
    assert made.photographs_s == pytest.approx(20 / (3 * 0.8))


def test_trainings_take_the_next_free_place() -> None:
    assert makespan([1, 1, 1], 3) == 1
    assert makespan([1, 1, 1, 1], 3) == 2
    assert makespan([5, 1, 1, 1, 2], 2) == 5
    assert cpu_step(fixed=1, each=2, batch=8, workers=1, sync=100) == 17
    assert cpu_step(fixed=1, each=2, batch=8, workers=4, sync=3) == 4 + 16 + 12


@pytest.mark.parametrize("preset", ["best", "report"])
@pytest.mark.parametrize("classes", [3, 30])
def test_more_gpus_never_take_longer_nor_less_than_their_share(
    costs: Costs, preset: str, classes: int
) -> None:
    one, eight, many = (train_all(costs, preset, classes, gpus, 512) for gpus in (1, 8, 64))
    assert one.hours > eight.hours > many.hours
    assert one.hours / 8 <= eight.hours * 1.001 and one.hours / 64 <= many.hours * 1.001
    assert 0 <= one.idle < 0.01 and eight.idle <= many.idle < 1
    assert one.general == one.each == 1


def test_a_step_has_no_more_workers_than_photographs(costs: Costs) -> None:
    made = train_all(costs, "report", 3, 64, 5)
    assert max(made.general, made.each) <= 5


def test_an_archive_takes_what_its_scarcest_part_allows(costs: Costs) -> None:
    one, two = (color(costs, "large", "jpeg", machines, gpu=False) for machines in (1, 2))
    assert one.bottleneck == two.bottleneck == "CPUs: networks, files"
    assert two.rate == pytest.approx(2 * one.rate)
    each = costs["archive_ray"] * (
        costs["archive_large_read"] + costs["archive_large_jpeg"] + costs["archive_color"]
    )
    assert one.rate == pytest.approx(costs["cpus_per_gpu"] / each)
    many = color(costs, "small", "png", 1000, gpu=True)
    assert (many.bottleneck, many.rate) == ("S3: PUTs of a prefix", 3500)
    free = {"gpu_hour": 0.0, "get_price": 1e-6, "put_price": 2e-6}
    priced = color(Costs({**costs.values, **free}), "small", "png", 8, gpu=True)
    assert priced.dollars == pytest.approx(10_000_000 * 3e-6)


def test_every_cost_names_its_unit_and_its_source() -> None:
    data = read(DATA)
    assert set(data["machine"]) >= {"cpu", "cores", "versions"}
    for name, entry in data["costs"].items():
        assert entry["what"] and entry["unit"] and entry["source"], name
        assert entry["value"] >= 0 and isinstance(entry["assumed"], bool), name
    assert all("source" in check for check in data["checks"].values())


@pytest.mark.slow
@pytest.mark.usefixtures("embedded")
def test_the_measured_costs_are_those_of_the_file() -> None:
    names = measure(Settings("quick"))
    data = read(DATA)["costs"]
    measured = {name for name, entry in data.items() if entry["source"].endswith("--measure")}
    assert names.keys() == measured
    assert names["report_gflop"]["value"] > 0
    assert all(names[name]["unit"] == data[name]["unit"] for name in names)


def test_predictions_are_near_what_was_measured(costs: Costs) -> None:
    found = predictions(read(DATA)["checks"], costs)
    assert len(found) >= 6
    for words, predicted, measured in found:
        assert predicted == pytest.approx(measured, rel=0.25), words


def test_the_page_has_the_tables_of_the_program(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    written = tmp_path / "predictions.json"
    assert scale_model.main(["--json", str(written)]) == 0
    printed, page = capsys.readouterr().out, (CHECKOUT / "docs" / "scale.md").read_text()
    assert len(page.splitlines()) < 160
    for name, table in json.loads(written.read_text()).items():
        assert table in printed
        assert table in page, f"docs/scale.md has another table of {name}"


def test_prices_and_the_data_file_can_be_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = read(DATA)
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(data))
    assert scale_model.main(["--costs", str(path), "--gpu-hour", "0"]) == 0
    free = Costs.of(data, gpu_hour=0.0)
    assert tables(free, data)["training"] in capsys.readouterr().out
    path.write_text("no JSON")
    assert scale_model.main(["--costs", str(path)]) == 1
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (8.0, "8"), (0.01234, "0.0123"), (999.6, "1000"), (16_388, "16,400")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
