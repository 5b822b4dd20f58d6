"""The sweep's page in a browser, on a running sweep and on a finished one."""

import dataclasses
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import torch
import uvicorn
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect

from colorgan.data.dataset import Dataset
from colorgan.storage import Storage
from colorgan.storage.lease import hold
from colorgan.sweeps.documents import (
    Sweep,
    TrialState,
    create_sweep,
    mark_interrupted,
    read_history,
    read_state,
    shown_rows,
    write_state,
)
from colorgan.sweeps.population import Decision, Round, carry_out
from colorgan.sweeps.trial import TrialRun, run_trial
from colorgan.training.config import SpeedConfig
from serve.access import API_KEY
from serve.backend import LocalBackend
from serve.config import ServeConfig
from tests.browser import Shoot, fits, visit
from tests.serve.conftest import publish_untrained, served
from tests.sweeps.test_sweeps import begin, go_on
from tune.dashboard import create_dashboard, describe, main, timing


def train(storage: Storage, sweep: Sweep, trial: str) -> Iterator[object]:
    cpu = torch.device("cpu")
    return run_trial(TrialRun(storage, sweep, trial, cpu, SpeedConfig(), 1))


@contextmanager
def dashboard(storage: Storage) -> Iterator[str]:
    """The dashboard on a port of its own; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = uvicorn.Config(create_dashboard(storage), port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def trials(page: Page) -> list[list[str]]:
    rows = page.locator("#trials tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def pictures(page: Page) -> int:
    """How many of the grid's pictures are on the screen."""
    script = "all => all.filter((each) => each.complete && each.naturalWidth > 0).length"
    count: int = page.locator("#grid img").evaluate_all(script)
    return count


def await_pictures(page: Page, count: int) -> None:
    deadline = time.monotonic() + 300
    while pictures(page) != count:
        assert time.monotonic() < deadline, pictures(page)
        page.wait_for_timeout(50)


@pytest.mark.slow
def test_the_page_follows_a_sweep_from_its_first_epoch_to_its_last(
    browser: Browser, scenes: Dataset, shoot: Shoot
) -> None:
    storage, sweep = scenes.storage, begin(scenes, batch_size=(1, 5, 10))
    list(train(storage, sweep, "01"))
    second = train(storage, sweep, "02")
    next(iter(second))
    with dashboard(storage) as address, visit(browser, f"{address}/sweeps") as page:
        page.get_by_role("link", name="s", exact=True).click()
        expect(page.locator("#state")).to_contain_text("1 done, 1 running, 1 waiting")
        (first, running, waiting) = trials(page)
        best = (describe(storage, sweep)["best"] or {})["trial"]
        marked = [name for name, *_ in trials(page) if "best, epoch" in name]
        assert [name.split()[0] for name in marked] == [best]
        assert first[0].split()[0] == "01"
        assert first[1:4] == ["done", "1", "4 of 4"]
        assert running[0].split()[0] == "02"
        assert running[1:4] == ["running", "5", "2 of 4"] and running[5], "an ETA"
        assert [waiting[0].split()[0], *waiting[1:4]] == ["03", "waiting", "10", "0 of 4"]
        await_pictures(page, 3)
        assert page.locator("#grid .none").count() == 3, "what is still to come"
        shoot(page, "sweep_running")

        list(second)  # it goes on while the page is looked at
        write_state(
            storage,
            sweep,
            "03",
            type(read_state(storage, sweep, "03"))("failed", {"batch_size": 10}, error="no room"),
        )
        expect(page.locator("#state")).to_contain_text("2 done, 1 failed")
        await_pictures(page, 4)
        assert trials(page)[2][1] == "failed" and trials(page)[2][-1] == "no room"
        list(train(storage, sweep, "03"))
        expect(page.locator("#state")).to_contain_text("3 done")
        await_pictures(page, 6)

        expect(page.locator("#curves .scatterlayer .trace")).to_have_count(3)
        expect(page.locator("#parallel .scatterlayer .trace")).to_have_count(3)
        expect(page.locator("#frontier .scatterlayer .trace")).to_have_count(3)
        page.locator("#axis").select_option("seconds")
        expect(page.locator("#curves .xtitle")).to_have_text("seconds of training")
        page.locator("#metric").select_option("val_psnr")
        expect(page.locator("#curves .ytitle")).to_contain_text("PSNR")

        expect(page.locator("#epoch-number")).to_have_text("4")
        page.get_by_role("slider").press("ArrowLeft")
        expect(page.locator("#epoch-number")).to_have_text("2")
        assert page.locator("#large img").evaluate_all("all => all.map((each) => each.alt)") == [
            "gray",
            *(f"trial {trial}, epoch 2" for trial in ("01", "02", "03")),
            "original",
        ]
        page.get_by_role("radio").nth(1).click()
        await_pictures(page, 6)
        shoot(page, "sweep_finished")

        page.get_by_label("5", exact=True).uncheck()
        assert [row[0].split()[0] for row in trials(page)] == ["01", "03"]
        expect(page.locator("#curves .scatterlayer .trace")).to_have_count(2)
        await_pictures(page, 4)

        page.set_viewport_size({"width": 360, "height": 740})
        expect(page.locator("#curves .main-svg").first).to_be_visible()
        deadline = time.monotonic() + 300  # Plotly draws anew
        while not fits(page):
            assert time.monotonic() < deadline
            page.wait_for_timeout(50)
        names = page.locator("#curves .legendtext")
        expect(names).to_have_text(["trial 01", "trial 03"])
        for row in ("#trials tbody tr", "#grid tbody tr"):  # stays in sight beside its line
            first = page.locator(row).first.locator("th").first
            scrolled = page.locator(".wide", has=page.locator(row).first)
            scrolled.evaluate("(each) => { each.scrollLeft = 200; }")
            box = first.bounding_box()
            assert box and box["x"] >= 0
        shoot(page, "sweep_phone")


@pytest.mark.slow
def test_the_page_keeps_what_a_trial_was_and_says_what_it_took_over(
    browser: Browser, scenes: Dataset, shoot: Shoot
) -> None:
    storage = scenes.storage
    sweep = begin(scenes, learning_rate=(2e-4, 1e-5))
    sweep = dataclasses.replace(sweep, name="p", scheduler="pbt", metric="val_l1")
    create_sweep(storage, sweep, shown_rows(scenes, "animals"))
    for trial in ("01", "02"):
        go_on(storage, sweep, trial, 1)
    before = read_history(storage, sweep, "02").epochs
    decision = Decision("02", "01", {"learning_rate": 1.6e-4})
    carry_out(storage, sweep, Round(2, {"01": 8.0, "02": 9.5}, (decision,)))
    for trial in ("01", "02"):
        list(train(storage, sweep, trial))
    with dashboard(storage) as address, visit(browser, f"{address}/sweeps/p") as page:
        expect(page.locator("#about")).to_contain_text("pbt lets the trials wait for each other")
        expect(page.locator("#state")).to_contain_text("The best by L1 in ab, validation is trial")
        assert trials(page)[1][2] == "0.00001 → 0.00016"
        expect(page.locator("#lineage dt")).to_have_text(
            "Trial 02, which began as learning_rate 0.00001"
        )
        expect(page.locator("#lineage dd")).to_have_text(
            "after epoch 2 from the networks of trial 01 (8, its own was 9.5): "
            "learning_rate 0.00001 → 0.00016"
        )
        expect(page.locator("#curves .legendtext").nth(1)).to_have_text("learning_rate 0.00001")
        curve = describe(storage, sweep)["trials"][1]["records"]
        assert [each["val_l1"] for each in curve[:2]] == [each.val_l1 for each in before]
        shoot(page, "sweep_population")


def test_a_trial_whose_job_was_killed_does_not_run(scenes: Dataset) -> None:
    storage, sweep = scenes.storage, begin(scenes, batch_size=(2, 5))
    go_on(storage, sweep, "01", 1)
    write_state(storage, sweep, "02", TrialState("paused", {"batch_size": 5}, epoch=2))

    def statuses() -> list[str]:
        (listed,) = TestClient(create_dashboard(storage)).get("/sweeps-data").json()
        found = [trial["status"] for trial in describe(storage, sweep)["trials"]]
        assert listed["trials"] == dict(Counter(found))
        return found

    assert statuses() == ["running", "paused"], "no lease: it may be of an earlier version"
    with hold(storage, "runs/s", "sweep 's'", "wait"):
        assert statuses() == ["running", "paused"]
        record = json.loads(storage.get("leases/runs/s/000001.json"))
        record["process"]["started"] -= 1  # another process, which has died
        storage.put("leases/runs/s/000001.json", json.dumps(record).encode())
        assert statuses() == ["interrupted", "interrupted"]
        first = describe(storage, sweep)["trials"][0]
        assert first["eta"] is None and first["silent"] == 0
    mark_interrupted(storage, sweep)  # as a job that is stopped does
    storage.delete("leases/runs/s/000001.json")
    assert statuses() == ["interrupted", "interrupted"]


def test_why_a_trial_stopped_and_which_is_best_is_described(scenes: Dataset) -> None:
    storage, sweep = scenes.storage, begin(scenes, batch_size=(2, 5))
    go_on(storage, sweep, "01", 1)
    list(train(storage, sweep, "02"))
    stopped = dataclasses.replace(
        read_state(storage, sweep, "01"), status="stopped", reason="asha stopped it after epoch 2"
    )
    write_state(storage, sweep, "01", stopped)
    described = describe(storage, sweep)
    assert described["trials"][0]["reason"] == "asha stopped it after epoch 2"
    evaluated = {
        (trial["name"], each["epoch"]): each["val_l1"]
        for trial in described["trials"]
        for each in trial["evaluations"]
    }
    best = described["best"]
    assert best["metric"] == "val_l1" and best["value"] == min(evaluated.values())
    assert evaluated[best["trial"], best["epoch"]] == best["value"]


@pytest.mark.slow
def test_the_service_shows_sweeps_to_those_with_its_key(
    browser: Browser, scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, sweep = scenes.storage, begin(scenes, batch_size=(5,))
    list(train(storage, sweep, "01"))
    publish_untrained(storage, "general")
    monkeypatch.setenv(API_KEY, "sesame")
    with served(LocalBackend(ServeConfig(storage=storage.uri)), storage) as client:
        address = str(client.base_url).rstrip("/")
        photo = sweep.photographs[0]
        for path in (
            "/sweeps-data",
            "/sweeps/s/data",
            f"/sweeps/s/photographs/{photo}/original",
            f"/sweeps/s/trials/01/4/{photo}",
        ):
            assert httpx.get(address + path).status_code == 401
            assert httpx.get(address + path, headers={"X-API-Key": "sesame"}).status_code == 200
        with visit(browser, f"{address}/sweeps/s", failures=True) as page:
            page.get_by_label("This server requires an API key.").fill("sesame")
            page.get_by_role("button", name="Continue").click()
            expect(page.locator("#state")).to_contain_text("1 done")
            await_pictures(page, 2)


@pytest.mark.parametrize(
    "path",
    [
        "/sweeps/t/data",
        "/sweeps/..%2f/data",
        "/sweeps/s/photographs/../original",
        "/sweeps/s/photographs/x/original",
        "/sweeps/s/photographs/PHOTO/weights",
        "/sweeps/s/trials/02/4/PHOTO",
        "/sweeps/s/trials/01/3/PHOTO",
        "/sweeps/s/trials/01/-4/PHOTO",
    ],
)
def test_what_is_not_there_is_404(path: str, scenes: Dataset) -> None:
    sweep = begin(scenes, batch_size=(5,))
    client = TestClient(create_dashboard(scenes.storage))
    response = client.get(path.replace("PHOTO", sweep.photographs[0]))
    assert response.status_code == 404


def test_times_are_shares_beside_the_reports(scenes: Dataset) -> None:
    sweep = begin(scenes, batch_size=(1, 5))
    for trial in ("01", "02"):
        list(train(scenes.storage, sweep, trial))
    one, five = timing(scenes.storage, sweep)
    assert (one["batch_size"], five["batch_size"]) == (1, 5)
    assert one["share_of_smallest_batch"] == 1
    assert five["share_of_smallest_batch"] == five["seconds"] / one["seconds"]
    assert five["report_share_of_smallest_batch"] == 0.5
    described = describe(scenes.storage, sweep)
    assert [trial["eta"] for trial in described["trials"]] == [None, None]


def test_a_sweep_that_is_not_there_is_one_sentence(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--storage", scenes.storage.uri, "--sweep", "x"]) == 1
    assert "no sweep 'x'" in capsys.readouterr().err
