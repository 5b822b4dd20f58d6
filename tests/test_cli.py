import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.images.decoding import encode_png
from colorgan.packages.card import ModelCard, find, newest_version
from colorgan.storage import Storage, open_storage
from colorgan.training.runs import finished_result
from tests.conftest import CHECKOUT
from tests.packages.test_packages import damage, publish_animals
from tests.web_server import bad_web, ok, status

SMALL = (
    "--preset",
    "small",
    "--size",
    "32",
    "--width",
    "4",
    "--discriminator-width",
    "4",
    "--epochs",
    "2",
)


def run(dataset: Dataset, *arguments: str) -> int:
    command, *rest = arguments
    return main([command, "--storage", dataset.storage.uri, *rest])


def photograph(path: Path, width: int = 48, height: int = 40) -> Path:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def test_stage_train_models_and_colorize_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = str(tmp_path / "storage")
    stage = ["stage", "scenes", "--storage", storage, "--dataset", "s", "--per-class", "20"]
    assert main([*stage, "--size", "64", "--min-side", "32", "--val-share", "0.3"]) == 0
    train = ["train", "--storage", storage, "--dataset", "s", "--model", "general", *SMALL]
    assert main([*train, "--run", "r"]) == 0
    first = finished_result(open_storage(storage), "r", "general")
    assert first and first.status == "done"
    assert main([*train, "--run", "r"]) == 0, "a finished run is not trained again"
    assert finished_result(open_storage(storage), "r", "general") == first

    capsys.readouterr()
    assert main(["models", "--storage", storage]) == 0
    assert str(first.package) in capsys.readouterr().out
    photo, out = photograph(tmp_path / "photo.png"), tmp_path / "out"
    colorize = ["colorize", str(photo), "--storage", storage, "--model", "general", "-o", str(out)]
    assert main(colorize) == 0
    with Image.open(out / "photo.png") as colored:
        assert colored.size == (48, 40)
    capsys.readouterr()
    assert main(["datasets", "--storage", storage, "--json"]) == 0
    (manifest,) = json.loads(capsys.readouterr().out)
    assert manifest["name"] == "s"


def test_what_is_downloaded_dropped_and_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lists").mkdir()
    storage = ["--storage", str(tmp_path / "storage")]
    with bad_web() as web:
        urls = [web.add("/gone", status(410)), web.at("127.0.0.1", "/never heard of")]
        for number in range(3):
            picture = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            urls.append(web.add(f"/{number}", ok(encode_png(picture))))
        (tmp_path / "lists" / "cats.txt").write_text("\n".join(urls))
        stage = ["stage", f"urls:{tmp_path}/lists", "--dataset", "web", "--per-class", "4"]
        small = ["--size", "32", "--min-side", "32"]
        assert main([*stage, *small, *storage]) == 1, "loopback addresses are refused"
        assert "5 refused address" in capsys.readouterr().err
        assert main([*stage, *small, *storage, "--allow-private"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line for line in lines if line.startswith("dropped ")} == {
        f"dropped {urls[0]}: gone (status 410)",
        f"dropped {urls[1]}: gone (status 404)",
    }
    assert "cats: 1 short of 4: the source has no more that can be used" in lines
    assert lines[-1].startswith("dataset web: 3 photographs in ")
    assert lines[-1].endswith("; dropped 2: 2 gone")
    assert main(["stage", f"urls:{tmp_path}/none", "--dataset", "x", *storage]) == 2
    assert f"error: {tmp_path}/none is not a file" in capsys.readouterr().err


def test_an_interrupted_training_goes_on_with_its_run(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from colorgan.training import progress

    note = progress.Progress.epoch

    def interrupt(self: progress.Progress, model: str, record: object) -> None:
        note(self, model, record)  # type: ignore[arg-type]
        if record.epoch == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    arguments = ("train", "--dataset", "scenes", "--model", "animals", "--run", "r", *SMALL[:-1])
    with monkeypatch.context() as patched:
        patched.setattr(progress.Progress, "epoch", interrupt)
        assert run(scenes, *arguments, "5") == 130
    assert "run the same command with --run r to continue" in capsys.readouterr().err
    assert run(scenes, *arguments, "5") == 0
    assert "epoch 2/5" not in capsys.readouterr().out
    assert run(scenes, *arguments, "6") == 2  # the learning rate has fallen by then
    assert "error: --epochs 6: animals has done 5 of 5 epochs" in capsys.readouterr().err
    card = find(scenes.storage, "animals")
    history = scenes.storage.get(f"models/animals/{card.version}/history.csv").decode()
    assert [line.split(",")[0] for line in history.splitlines()[1:]] == ["1", "2", "3", "4", "5"]


def test_alpha_is_kept(scenes: Dataset, tmp_path: Path) -> None:
    publish_animals(scenes)
    photo = tmp_path / "alpha.png"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    out = tmp_path / "colored.png"
    assert run(scenes, "colorize", str(photo), "--model", "animals", "-o", str(out)) == 0
    with Image.open(out) as colored:
        np.testing.assert_array_equal(np.asarray(colored)[..., 3], pixels[..., 3])


def test_one_bad_photograph_does_not_stop_the_others(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_animals(scenes)
    bad, good = tmp_path / "bad.jpg", photograph(tmp_path / "good.png")
    bad.write_text("not a photograph")
    gone, out = tmp_path / "gone.jpg", tmp_path / "out"
    paths = (str(bad), str(gone), str(good))
    assert run(scenes, "colorize", *paths, "--model", "animals", "-o", str(out)) == 1
    assert [path.name for path in out.iterdir()] == ["good.png"]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "bad.jpg cannot be coloured: not an image" in errors[0]
    assert "gone.jpg" in errors[1]


BAD = [
    (("train", "--dataset", "none", "--model", "animals"), 1, "no dataset 'none'.*scenes"),
    (("train", "--dataset", "scenes", "--model", "cats"), 2, "no model 'cats'.*animals"),
    (("train", "--dataset", "scenes", "--model", "animals", "--size", "99"), 2, "--size 99"),
    (("train", "--dataset", "scenes", "--model", "animals", "--epochs", "0"), 2, "--epochs"),
    (("stage", "folder:/nowhere", "--dataset", "x"), 2, "/nowhere is not a folder"),
    (("stage", "http://a/b", "--dataset", "x"), 2, "no source 'http://a/b'"),
    (("stage", "scenes", "--dataset", "../x"), 2, "is not a name"),
    (("stage", "scenes", "--dataset", "scenes"), 1, "exists in .*--replace"),
    (("stage", "scenes", "--dataset", "x", "--per-class", "-1"), 2, "--per-class"),
    (("colorize", "a.jpg", "--model", "dogs", "-o", "out"), 1, "no model 'dogs'"),
    (("colorize", "a.jpg", "--vividness", "2.5", "-o", "out"), 2, "--vividness must lie"),
    (("colorize", "a.jpg", "b.jpg", "--model", "x", "-o", "out.png"), 2, "give a folder"),
    (("colorize", "a/x.jpg", "b/x.png", "--model", "x", "-o", "out.png"), 2, "give a folder"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), BAD)
def test_bad_input_gets_one_sentence_and_an_exit_status(
    scenes: Dataset,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    before = scenes.storage.list()
    assert run(scenes, *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line)
    assert scenes.storage.list() == before


@pytest.mark.parametrize("change", ["cut short", "one bit"])
def test_a_damaged_package_is_one_sentence(
    scenes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    card, _ = publish_animals(scenes)
    damage(scenes, card, change)
    photo = photograph(tmp_path / "photo.png")
    out = str(tmp_path / "out")
    assert run(scenes, "colorize", str(photo), "--model", "animals", "-o", out) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "generator.safetensors" in line


def test_options_that_argparse_refuses_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train", "--epochs", "many"], []):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


def test_the_same_command_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colorgan", "--version"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("colorgan ")


def test_general_is_trained_on_every_class(scenes: Dataset) -> None:
    assert run(scenes, "train", "--dataset", "scenes", "--model", "general", *SMALL) == 0
    card = find(scenes.storage, "general")
    assert card.classes == scenes.manifest.classes
    assert card.photographs == scenes.count(scenes.manifest.classes, "train")
    assert open_dataset(scenes.storage, "scenes").manifest == scenes.manifest


def newest(storage: Storage, model: str) -> ModelCard:
    """What was published last; it is released only if it is not worse."""
    return find(storage, f"{model}@{newest_version(storage, model)}")


def test_a_class_that_is_trained_alone_starts_from_general_as_the_preset_says(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    sizes = ("--size", "64", "--width", "4", "--epochs", "1", "--photographs", "8")
    arguments = ("train", "--dataset", "scenes", "--model", "animals", *sizes)
    # What the user names must be there; nothing is trained.
    assert run(scenes, *arguments, "--run", "r", "--start-from", "general") == 2
    assert "run 'r' has not trained it" in capsys.readouterr().err
    assert not storage.folders("runs")

    assert run(scenes, *arguments, "--run", "r") == 0
    output = capsys.readouterr().out
    assert "general is trained first, since animals starts from it" in output
    assert "--start-from general@VERSION" in output and "--start-from ''" in output
    first = find(storage, "animals")
    general = find(storage, "general")
    assert (first.training["start_from"], general.training["start_from"]) == ("general", "")
    assert first.training["phases"].startswith("critic")
    assert general.training["phases"].startswith("regression")

    # The same run has it for the next class, too.
    people = [each if each != "animals" else "people" for each in arguments]
    assert run(scenes, *people, "--run", "r") == 0
    output = capsys.readouterr().out
    assert "people starts from general, which run r has trained" in output
    assert "trained first" not in output and "general: epoch" not in output

    # Another run takes the general that is there; the same run goes on as it began.
    assert run(scenes, *arguments, "--run", "s") == 0
    assert f"animals starts from {general.reference}, the latest" in capsys.readouterr().out
    assert find(storage, "general") == general
    second = newest(storage, "animals")
    assert second.training == {**first.training, "start_from": general.reference}
    for again in ("r", "s"):
        assert run(scenes, *arguments, "--run", again) == 0
    assert (find(storage, "general"), newest(storage, "animals")) == (general, second)

    # Of another architecture it is no base.
    wider = [*arguments, "--run", "t"]
    wider[wider.index("--width") + 1] = "6"
    assert run(scenes, *wider) == 0
    assert newest(storage, "general") != general
    assert newest(storage, "animals").architecture.width == 6  # type: ignore[union-attr]

    assert run(scenes, *arguments, "--run", "u", "--start-from", "") == 0
    alone = newest(storage, "animals").training
    assert (alone["start_from"], alone["phases"]) == ("", general.training["phases"])
