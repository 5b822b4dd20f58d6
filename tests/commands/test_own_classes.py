"""Cats and dogs: classes that nobody has put into classes.toml, from photographs to an answer."""

import html
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.dataset import open_dataset
from colorgan.data.scenes import draw_scene
from colorgan.data.sources import FolderSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.models.classifiers import load_classifier
from colorgan.packages.card import find
from colorgan.storage import Storage, open_storage
from colorgan.training.router_head import HeadTrainingConfig, train_router
from jobs import evaluate
from serve.deploy import main as deploy
from tests.conftest import CHECKOUT, Jobs, summary
from tests.serve.conftest import local_server, publish_untrained
from tests.waiting import PATIENCE_S
from tests.warm.client import WarmStart

OWN = {"cats": "animals", "dogs": "vehicles"}  # and the scenes that stand in for them


def picture(path: Path, label: str, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_scene(OWN[label], seed, 64, 64)).save(path)
    return path


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage with a dataset of cats and dogs, and untrained models of them and of both."""
    folder = tmp_path_factory.mktemp("own")
    for label in OWN:
        for number in range(24):
            picture(folder / "photos" / label / f"{number}.png", label, number)
    storage = open_storage(str(folder / "storage"))
    config = StagingConfig(size=64, min_side=32, val_share=0.2, test_share=0.2)
    stage(FolderSource(folder / "photos"), storage, "mine", config)
    for seed, model in enumerate((*OWN, "general")):
        publish_untrained(storage, model, seed, dataset="mine")
    return storage


@pytest.fixture(scope="module")
def with_head(staged: Storage, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """The same with a head."""
    root = tmp_path_factory.mktemp("head") / "storage"
    shutil.copytree(staged.uri, root)
    storage = open_storage(str(root))
    dataset = open_dataset(storage, "mine")
    train_router(dataset, load_classifier(), HeadTrainingConfig(), "cpu")
    return storage


def test_without_a_head_every_command_says_how_to_make_one(
    staged: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(picture(tmp_path / "one.png", "cats", 100))
    out = str(tmp_path / "out.png")
    assert main(["colorize", "--storage", staged.uri, photo, "-o", out]) == 1
    assert main(["misrouting", "--storage", staged.uri, "--dataset", "mine"]) == 1
    assert evaluate.main(["--storage", staged.uri]) == 1
    production = (CHECKOUT / "serve/production.yaml").read_text()
    file = tmp_path / "production.yaml"
    file.write_text(production.replace("s3://bucket/prefix", staged.uri))
    assert deploy([str(file)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.startswith("error: the assembled model needs a model of every class: ")
        for words in ("--router head", "colorgan train-router", "--classes FILE", "cats, dogs"):
            assert words in line
    assert not Path(out).exists()
    assert not staged.list("reports")


@pytest.mark.slow
@pytest.mark.parametrize("local", [True, False])
def test_a_service_that_cannot_colour_does_not_start(
    warm: WarmStart, staged: Storage, local: bool
) -> None:
    command = [sys.executable, "-m", "serve", "--storage", staged.uri, "--port", "1"]
    done = subprocess.run(
        [*command, *(["--local"] if local else [])],
        env={**os.environ, **warm.variables},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "--router head" in line and "train-router" in line and "Traceback" not in line


@pytest.mark.slow
def test_a_service_with_a_head_colours(warm: WarmStart, with_head: Storage, tmp_path: Path) -> None:
    data = picture(tmp_path / "one.png", "dogs", 100).read_bytes()
    with local_server(with_head, **warm.variables) as address:
        answer = httpx.post(f"{address}/colorize", content=data, timeout=PATIENCE_S)
        assert answer.status_code == 200
        assert answer.headers["X-Colorgan-Model"] == find(with_head, "dogs").reference
        served = httpx.get(f"{address}/models", timeout=PATIENCE_S).json()["router"]
        assert served == {"name": "head", "classes": ["cats", "dogs"]}
        for model in ("cats", "general"):
            query = {"model": model}
            answer = httpx.post(
                f"{address}/colorize", content=data, params=query, timeout=PATIENCE_S
            )
            assert answer.headers["X-Colorgan-Model"] == find(with_head, model).reference


@pytest.mark.slow
def test_a_service_of_general_alone_asks_for_it_and_never_to_come_back(
    warm: WarmStart, staged: Storage, tmp_path: Path
) -> None:
    root = tmp_path / "storage"
    shutil.copytree(staged.uri, root)
    storage = open_storage(str(root))
    for model in OWN:
        storage.delete(f"models/{model}")
    data = picture(tmp_path / "one.png", "dogs", 100).read_bytes()
    with local_server(storage, **warm.variables) as address:
        answer = httpx.post(f"{address}/colorize", content=data, timeout=PATIENCE_S)
        assert answer.status_code == 422 and "Retry-After" not in answer.headers
        assert "ask for model=general" in answer.json()["detail"]
        query = {"model": "general"}
        answer = httpx.post(f"{address}/colorize", content=data, params=query, timeout=PATIENCE_S)
        assert answer.status_code == 200


def test_the_deployments_of_a_file_must_be_of_models_that_are_served(
    with_head: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = (CHECKOUT / "serve/production.yaml").read_text()
    file = tmp_path / "production.yaml"
    file.write_text(production.replace("s3://bucket/prefix", with_head.uri))
    assert deploy([str(file)]) == 2
    error = capsys.readouterr().err
    assert "deployments of animals, people, vehicles" in error
    assert "served is cats, dogs, general" in error


def test_every_command_uses_the_head_without_an_option(
    with_head: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(picture(tmp_path / f"{label}.png", label, 100)) for label in OWN]
    capsys.readouterr()
    assert main(["classify", "--storage", with_head.uri, *photos, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["class"], each["router"]) for each in found] == [
        ("cats", "head"),
        ("dogs", "head"),
    ]
    out = tmp_path / "out"
    assert main(["colorize", "--storage", with_head.uri, *photos, "-o", str(out)]) == 0
    captured = capsys.readouterr()
    for line, label in zip(captured.out.splitlines(), OWN, strict=True):
        assert f"coloured by {find(with_head, label).reference}" in line
    assert captured.err == ""
    mine = ("--storage", with_head.uri, "--dataset", "mine")
    assert main(["evaluate-router", *mine, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["package"] == find(with_head, "router").reference
    assert described["classifier"] == "efficientnet_lite0"
    assert main(["misrouting", *mine]) == 0


def test_where_two_routers_fit_the_choice_is_said(
    with_head: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "storage"
    shutil.copytree(with_head.uri, root)
    for label in ("animals", "people", "vehicles"):  # a model of these, too, older than the head
        shutil.copytree(root / "models/cats", root / "models" / label)
        for card in (root / "models" / label).glob("*/model.json"):
            older = card.read_text().replace('"model": "cats"', f'"model": "{label}"')
            card.write_text(older.replace('"created": "20', '"created": "19'))
    photo = str(picture(tmp_path / "one.png", "cats", 100))
    capsys.readouterr()
    assert main(["colorize", "--storage", str(root), photo, "-o", str(tmp_path / "o.png")]) == 0
    captured = capsys.readouterr()
    assert "coloured by cats@" in captured.out
    router = find(with_head, "router").reference
    assert captured.err == (
        f"note: router head {router} (cats, dogs), the latest training; --router labels takes "
        "labels (animals, people, vehicles)\n"
    )
    labels = ("--router", "labels", "-o", str(tmp_path / "o2.png"))
    assert main(["colorize", "--storage", str(root), photo, *labels]) == 0
    captured = capsys.readouterr()
    assert "coloured by cats@" not in captured.out and captured.err == ""


@pytest.mark.slow
def test_train_all_trains_the_head_and_an_evaluation_names_it(jobs: Jobs, tmp_path: Path) -> None:
    for label in OWN:
        for number in range(24):
            picture(tmp_path / "photos" / label / f"{number}.png", label, number)
    storage = open_storage(str(tmp_path / "storage"))
    config = StagingConfig(size=64, min_side=32, val_share=0.2, test_share=0.2)
    stage(FolderSource(tmp_path / "photos"), storage, "mine", config)
    options = ("--storage", storage.uri, "--run", "r", "--epochs", "1")
    job = jobs.run(*options)
    assert job.process.returncode == 0, job.output
    head = find(storage, "router")
    described = summary(storage, "r")["router"]
    assert described == {
        "status": "done",
        "classifier": "efficientnet_lite0",
        "classes": ["cats", "dogs"],
        "package": head.reference,
        "val_accuracy": head.metrics["val_accuracy"],
        "error": None,
    }
    assert f"router: {head.reference}, validation accuracy" in job.output

    job = jobs.run(*options)  # goes on: all is done, and the head, too
    assert job.process.returncode == 0, job.output
    assert f"router: finished before, {head.reference}" in job.output
    assert summary(storage, "r")["router"] == described
    assert storage.folders("models/router") == [head.version]

    evaluated = ("--storage", storage.uri, "--report", "first", "--models", "assembled")
    job = jobs.start_script("evaluate", *evaluated)
    assert job.finish() == 0, job.output
    routing = f"head {head.reference} on efficientnet_lite0"
    assert f"router of the assembled models: {routing}" in job.output
    assert "no semantic score: cats, dogs have no ImageNet labels" in job.output
    recorded = json.loads(storage.get("reports/first/evaluation.json"))
    assert (recorded["router"], recorded["router_package"]) == ("head", head.reference)
    assert f"<dd>{routing}</dd>" in html.unescape(storage.get("reports/first/index.html").decode())
    assert routing in storage.get("reports/first/tables/contestants.csv").decode()
