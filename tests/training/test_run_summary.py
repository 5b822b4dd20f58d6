"""What came of a run, written for scripts and for people."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from colorgan.storage import Storage
from colorgan.training.runs import HeadResult, ModelResult
from colorgan.training.summary import RunSummary

DONE = ModelResult(
    *("general", "done", 747, 20, 1.0, 9.0, 125.0, "cpu", "10.0.0.1", 61.04, 13.491, 18.94, 0.361),
    "general@1",
)
FAILED = ModelResult("animals", "failed", error="the loss is not finite")
HEAD = HeadResult("failed", "vgg16", ("animals",), error="no weights")


def test_the_summary_of_a_run_holds_every_models_result(storage: Storage) -> None:
    summary = RunSummary("r", 200.0, [DONE, FAILED], HEAD)
    assert summary.write(storage) == "runs/r/summary.json"
    written = json.loads(storage.get("runs/r/summary.json"))
    assert [*written] == ["run", "wall_seconds", "sum_seconds", "models", "router"]
    assert (written["wall_seconds"], written["sum_seconds"]) == (200.0, 125.0)
    assert ModelResult(**written["models"][0]) == DONE
    assert written["models"][1]["error"] == "the loss is not finite"
    assert written["router"]["classifier"] == "vgg16"
    assert RunSummary("r", 1.0, [DONE]).write(storage)
    assert json.loads(storage.get("runs/r/summary.json"))["router"] is None


@pytest.mark.parametrize(
    ("models", "router", "stopped", "failures"),
    [
        ([DONE], None, False, []),
        ([DONE, FAILED], None, False, ["animals failed: the loss is not finite"]),
        ([DONE], HEAD, False, ["router failed: no weights"]),
        ([DONE, replace(FAILED, status="stopped")], None, True, []),
        ([DONE], replace(HEAD, status="stopped"), True, []),
    ],
)
def test_a_run_is_stopped_or_failed_with_any_of_its_trainings(
    models: list[ModelResult], router: HeadResult | None, stopped: bool, failures: list[str]
) -> None:
    summary = RunSummary("r", 1.0, models, router)
    assert (summary.stopped, summary.failures) == (stopped, failures)


def test_the_table_has_a_line_for_every_model() -> None:
    console = Console(width=140)
    with console.capture() as printed:
        console.print(RunSummary("r", 1.0, [DONE, FAILED]).table())
    lines = printed.get().splitlines()
    (general,) = [line.split("│")[1:-1] for line in lines if "general" in line]
    assert [cell.strip() for cell in general] == [
        *("general", "done", "747", "20", "2 min 05 s", "cpu", "61.0"),
        *("13.49", "18.9 dB", "36 %", "general@1"),
    ]
    (animals,) = [line.split("│")[1:-1] for line in lines if "animals" in line]
    assert [cell.strip() for cell in animals] == ["animals", "failed", *[""] * 9]
