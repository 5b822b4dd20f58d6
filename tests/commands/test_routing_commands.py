import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.classes import imagenet_labels
from colorgan.cli import main
from colorgan.commands.holding import working_on
from colorgan.data.dataset import Dataset
from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.images import formats
from colorgan.packages.card import find
from tests.inference.test_router import crossword
from tests.packages.test_packages import publish_animals
from tests.test_cli import SMALL, photograph

FOURTH = """
threshold = 0.05
fallback = "people"
[classes.people]
n04350905 = "suit"
[classes.puzzles]
PUZZLE = "crossword puzzle"
"""


def picture(path: Path, label: str, seed: int) -> Path:
    Image.fromarray(draw_scene(label, seed, 96, 128)).save(path)
    return path


def run(storage: str, command: str, *arguments: str) -> int:
    return main([command, "--storage", storage, *arguments])


@pytest.fixture
def trained(scenes: Dataset) -> Dataset:
    """A dataset of scenes with a model of every class and a router's head."""
    storage = scenes.storage.uri
    for label in CLASSES:
        one = (*SMALL[:-1], "1")
        assert run(storage, "train", "--dataset", "scenes", "--model", label, *one) == 0
    assert run(storage, "train-router", "--dataset", "scenes") == 0
    return scenes


def test_a_router_is_trained_once_at_a_time(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    with working_on(storage, "model", "router"):
        assert run(storage.uri, "train-router", "--dataset", "scenes") == 1
    error = capsys.readouterr().err
    assert "model 'router' is being worked on by process" in error
    assert error.endswith("wait until it ends, or stop it with `colorgan jobs stop router`\n")


def test_train_classify_evaluate_and_colour_with_a_head(
    trained: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = trained.storage.uri
    photos = [str(picture(tmp_path / f"{label}.png", label, 999)) for label in CLASSES]
    capsys.readouterr()
    assert run(storage, "classify", *photos, "--json", "--router", "head") == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["path"] for each in found] == photos
    assert [each["class"] for each in found] == list(CLASSES)
    for each in found:
        assert each.keys() == {"path", "class", "score", "scores", "label", "router"}
        assert each["scores"][each["class"]] == each["score"] == max(each["scores"].values())
        assert (each["router"], each["label"]) == ("head", None)

    out = tmp_path / "out"
    assert run(storage, "colorize", *photos, "-o", str(out), "--router", "head") == 0
    printed = capsys.readouterr().out.splitlines()
    for line, label in zip(printed, CLASSES, strict=True):
        assert f"{label}.png: {label} " in line
        assert f"coloured by {find(trained.storage, label).reference}" in line
    own = tmp_path / "own.png"
    for choice in (("--model", "animals"), ("--class", "animals")):
        assert run(storage, "colorize", photos[0], "-o", str(own), "--overwrite", *choice) == 0
        with Image.open(own) as alone, Image.open(out / "animals.png") as routed:
            np.testing.assert_allclose(np.asarray(alone), np.asarray(routed).astype(int), atol=1)

    capsys.readouterr()
    assert run(storage, "evaluate-router", "--dataset", "scenes", "--router", "head", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in described["confusions"]] == ["gray", "colour"]
    assert described["confusions"][0]["accuracy"] > 0.8
    reports = trained.storage.list("reports/router")
    assert [Path(key).suffix for key in reports] == [".csv", ".json", ".png"]

    assert run(storage, "misrouting", "--dataset", "scenes", "--router", "head") == 0
    assert "router's model" in capsys.readouterr().out
    table = trained.storage.get("reports/misrouting/photographs.csv").decode()
    rows = list(csv.DictReader(table.splitlines()))
    assert len(rows) == trained.count(CLASSES, "test")
    assert all(float(row["gray"]) > 0 for row in rows)

    assert run(storage, "models") == 0
    assert "head on efficientnet_lite0 for animals, people, vehicles" in capsys.readouterr().out


def test_evaluate_router_prints_the_reports_matrix_beside(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scenes.storage.uri, "evaluate-router", "--dataset", "scenes", "--split", "val") == 0
    printed = capsys.readouterr().out
    for words in (
        *("gray, 0.05 rule: accuracy", "colour, no threshold: accuracy"),
        *("people: type 1 error", "the 2018 report: VGG-16 (percent): accuracy 90.7%"),
    ):
        assert words in printed


def test_classifiers_are_compared_in_one_table_and_those_without_weights_are_named(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    names = ("efficientnet_lite0", "nobody", "efficientnet_lite2")
    evaluate = ("evaluate-router", "--dataset", "scenes", "--split", "val")
    assert run(storage.uri, *evaluate, "--classifier", *names) == 0
    printed = capsys.readouterr().out
    assert "nobody is not in the table: no classifier 'nobody'" in printed
    rows = list(csv.DictReader(storage.get("reports/router/classifiers.csv").decode().splitlines()))
    assert {row["classifier"] for row in rows} == {names[0], names[2]}
    assert len(rows) == 2 * 4 * 3  # classifiers, matrices and classes
    for row in rows:
        answers = [int(value) for name, value in row.items() if name.startswith("-> ")]
        assert sum(answers) == int(row["photographs"]) == scenes.count((row["class"],), "val")
        assert float(row["recall"]) == pytest.approx(int(row[f"-> {row['class']}"]) / sum(answers))

    # The first one's matrices are those that it has alone.
    assert run(storage.uri, *evaluate, "--classifier", names[0], "--json") == 0
    alone = json.loads(capsys.readouterr().out)["confusions"]
    assert run(storage.uri, *evaluate, "--classifier", *names, "--json") == 0
    together = json.loads(capsys.readouterr().out)
    assert together["classifiers"][0]["confusions"] == alone
    assert list(together["missing"]) == ["nobody"]


def test_a_fourth_class_by_a_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Staged, trained, routed and coloured, with no change of the code."""
    puzzle = next(each.synset for each in imagenet_labels() if each.name == "crossword puzzle")
    classes = tmp_path / "classes.toml"
    classes.write_text(FOURTH.replace("PUZZLE", puzzle))
    photos, storage = tmp_path / "photos", str(tmp_path / "storage")
    for label in ("people", "puzzles"):
        (photos / label).mkdir(parents=True)
        for number in range(24):
            path = photos / label / f"{number}.png"
            crossword(path, number) if label == "puzzles" else picture(path, label, number)

    stage = ("stage", f"folder:{photos}", "--dataset", "own", "--size", "64", "--min-side", "32")
    shares = ("--val-share", "0.3", "--classes", str(classes))
    assert run(storage, *stage, *shares) == 0
    for label in ("people", "puzzles"):
        assert run(storage, "train", "--dataset", "own", "--model", label, *SMALL) == 0
    capsys.readouterr()
    one = str(crossword(tmp_path / "one.png", 100))
    assert run(storage, "classify", one, "--json", "--classes", str(classes)) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["class"], found["label"], found["router"]) == (
        *("puzzles", "crossword puzzle"),
        "labels",
    )
    assert found["scores"].keys() == {"people", "puzzles"}
    out = tmp_path / "out.png"
    assert run(storage, "colorize", one, "-o", str(out), "--classes", str(classes)) == 0
    assert "coloured by puzzles@" in capsys.readouterr().out
    with Image.open(out) as colored:
        assert colored.size == (300, 300)
    assert run(storage, "evaluate-router", "--dataset", "own", "--classes", str(classes)) == 0
    assert "-> puzzles" in capsys.readouterr().out

    (photos / "cats").mkdir()
    shutil.copy(photos / "people" / "0.png", photos / "cats")
    assert run(storage, *stage, *shares, "--replace") == 2
    assert "has no class cats; its classes are" in capsys.readouterr().err


def test_one_bad_photograph_does_not_stop_the_others(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = tmp_path / "bad.jpg", photograph(tmp_path / "good.png")
    bad.write_text("not a photograph")
    capsys.readouterr()
    assert run(scenes.storage.uri, "classify", str(bad), str(good), "--json") == 1
    captured = capsys.readouterr()
    assert [each["path"] for each in json.loads(captured.out)] == [str(good)]
    names = formats.readable_names()
    assert captured.err == f"error: {bad} cannot be classified: not an image (none of {names})\n"


BAD = [
    (("classify", "a.jpg", "--classifier", "vgg99"), 2, "no classifier 'vgg99'"),
    (("classify", "a.jpg", "--weights", "/nowhere.pth"), 2, "there is no file /nowhere.pth"),
    (("classify", "a.jpg", "--classes", "/nowhere.toml"), 2, "/nowhere.toml: No such file"),
    (("classify", "a.jpg", "--router", "head"), 1, "no model 'router'"),
    (("classify", "a.jpg", "--batch-size", "0"), 2, "--batch-size must be at least 1"),
    (("classify", "a.jpg", "--unsure-below", "2"), 2, "--unsure-below 2.0 is not a probability"),
    (("colorize", "a.jpg", "-o", "out"), 1, "has none for people, vehicles: .*--model NAME"),
    (("colorize", "a.jpg", "-o", "out", "--class", "cats"), 1, "no model 'cats'"),
    (
        ("colorize", "a.jpg", "-o", "o", "--class", "animals", "--model", "general"),
        *(2, "--class chooses"),
    ),
    (("train-router", "--dataset", "none"), 1, "no dataset 'none'"),
    (("train-router", "--dataset", "scenes", "--penalties", "a"), 2, "--penalties a are not"),
    (("evaluate-router", "--dataset", "scenes", "--report", "../x"), 2, "is not a name"),
    (
        ("evaluate-router", "--dataset", "scenes", "--classifier", "nobody", "nothing"),
        *(1, "none of the classifiers can be used .nobody: no classifier 'nobody'"),
    ),
    (
        ("evaluate-router", "--dataset", "scenes", "--classifier", "a", "b", "--router", "head"),
        *(2, "--router head has a classifier of its own"),
    ),
    (
        ("evaluate-router", "--dataset", "scenes", "--classifier", "a", "b", "--weights", "w.pth"),
        *(2, "--weights is the file of one classifier"),
    ),
    (("misrouting", "--dataset", "scenes"), 1, "needs a model of every class"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), BAD)
def test_bad_input_gets_one_sentence_and_an_exit_status(
    scenes: Dataset,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    publish_animals(scenes)
    before = scenes.storage.list()
    capsys.readouterr()
    assert run(scenes.storage.uri, *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line)
    assert scenes.storage.list() == before


def test_a_dataset_of_other_classes_than_the_routers_is_refused(
    tmp_path: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = tmp_path / "classes.toml"
    classes.write_text('fallback = "cats"\n[classes.cats]\nn02123045 = "tabby"\n')
    options = ("--dataset", "scenes", "--classes", str(classes))
    assert run(scenes.storage.uri, "evaluate-router", *options) == 2
    assert "does not know animals, people, vehicles" in capsys.readouterr().err
