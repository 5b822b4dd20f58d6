"""The models that come with colorgan, used wherever a storage has none; stand-ins of them here."""

import io
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import colorgan
from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.data.scenes import draw_scene
from colorgan.errors import ColorganError, ConfigError, ImageRejected, NotInStorage
from colorgan.evaluation.contestants import default_models, find_contestants
from colorgan.inference.assembled import assemble
from colorgan.inference.router_choice import RouterConfig
from colorgan.packages.card import find, list_models
from colorgan.packages.embedded import EmbeddedStorage, embedded_note, with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage
from colorgan.training.plan import RunRequest, plan_run
from colorgan.training.presets import Preset
from serve.api import create_api
from serve.backend import LocalBackend, find_parts
from serve.config import Limits, ServeConfig
from serve.deploy import choice_of, pin_models
from tests.conftest import CHECKOUT, STAND_IN
from tests.inference.test_router_choice import put_card
from tests.s3_server import S3Server
from tests.serve.conftest import publish_untrained

CLASSES = ["animals", "people", "vehicles"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(draw_scene("animals", 1, 96, 128)).convert("L").save(path)
    return path


def version(storage: Storage, model: str) -> str:
    return find(storage, model).reference


def colorize(storage: Storage, photo: Path, *options: str) -> int:
    out = str(photo.with_name("out.png"))
    where = ["--storage", storage.uri, "-o", out, "--overwrite"]
    return main(["colorize", *where, str(photo), *options])


def test_an_empty_storage_colours_with_the_embedded_models_and_says_so(
    storage: Storage, embedded: Storage, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert colorize(storage, photo) == 0
    said = capsys.readouterr()
    used = ", ".join(version(embedded, name) for name in CLASSES)
    note = f"note: colouring with the embedded models {used}; {storage.uri} has none of these names"
    assert said.err == f"{note}\n"
    assert "coloured by" in said.out and "@embedded-" in said.out
    assert Image.open(photo.with_name("out.png")).size == (128, 96)
    assert not Path(storage.uri).exists(), "nothing is written"
    assert colorize(storage, photo, "--model", "general") == 0
    said = capsys.readouterr()
    assert version(embedded, "general") in said.err and version(embedded, "general") in said.out


def test_with_no_embedded_model_the_sentences_are_those_of_an_empty_storage(
    storage: Storage, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_embedded(storage) is storage
    assert colorize(storage, photo) == 1
    assert "the assembled model needs a model of every class" in capsys.readouterr().err
    assert colorize(storage, photo, "--model", "embedded") == 1
    assert capsys.readouterr().err == (
        "error: no models come with this colorgan: install a release that has them, or train them "
        "by make pretrained\n"
    )


def test_ones_own_models_go_before(
    scenes: Dataset, embedded: Storage, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    own = publish_untrained(storage, "animals").reference
    both = with_embedded(storage)
    assembly = assemble(RouterConfig(), both)
    assert {name: card.reference for name, card in assembly.cards.items()} == {
        "animals": own,
        "people": version(embedded, "people"),
        "vehicles": version(embedded, "vehicles"),
    }
    assert colorize(storage, photo) == 0
    note = capsys.readouterr().err
    assert "embedded models people@" in note and "animals" not in note.partition(";")[0]
    assert colorize(storage, photo, "--model", "animals") == 0
    assert capsys.readouterr().err == ""
    # A version may be named, and all of them at once.
    assert colorize(storage, photo, "--model", version(embedded, "animals")) == 0
    assert version(embedded, "animals") in capsys.readouterr().out
    assert colorize(storage, photo, "--model", "embedded") == 0
    assert own not in capsys.readouterr().out


def test_a_package_that_was_cut_off_does_not_hide_the_embedded_model(
    scenes: Dataset, embedded: Storage
) -> None:
    both = with_embedded(scenes.storage)
    scenes.storage.put("models/animals/20260101-000000-000001-abcdef/x.safetensors", b"cut off")
    assert find(both, "animals").embedded
    own = publish_untrained(scenes.storage, "animals")
    assert find(both, "animals") == own
    # One's own fault is said, and not covered up.
    scenes.storage.delete("models/animals/latest.json")
    with pytest.raises(NotInStorage, match=r"models/animals/latest\.json is missing"):
        find(both, "animals")


@pytest.mark.parametrize("day", [1, 31], ids=["before", "after"])
def test_a_head_for_ones_own_classes_goes_before_the_embedded_models(
    storage: Storage, embedded: Storage, day: int
) -> None:
    # The stand-ins have been published now, and the head in January 2026.
    for name in ("cats", "dogs"):
        put_card(storage, name, day)
    both = with_embedded(storage)
    without = assemble(RouterConfig(), both)
    assert without.choice.classes == tuple(CLASSES)
    note = embedded_note(both, without.cards.values())
    assert "no router sends to its cats, dogs: colorgan train-router" in note
    put_card(storage, "router", day, ("cats", "dogs"))
    assert assemble(RouterConfig(), both).choice.classes == ("cats", "dogs")
    assert assemble(RouterConfig(router="labels"), both).choice.classes == tuple(CLASSES)


def test_the_embedded_models_are_listed(
    scenes: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = ["models", "--storage", scenes.storage.uri]
    assert main(listing) == 0
    out = capsys.readouterr().out
    assert all(version(embedded, name) in out for name in (*CLASSES, "general"))
    assert "no model in" in out and "come with colorgan" in out
    own = publish_untrained(scenes.storage, "animals").reference
    assert main([*listing, "--json"]) == 0
    listed = [f"{card['model']}@{card['version']}" for card in json.loads(capsys.readouterr().out)]
    assert listed == [own, *(card.reference for card in list_models(embedded))]
    assert main(listing) == 0
    assert "no model in" not in capsys.readouterr().out


def test_nothing_is_written_to_the_embedded_models(embedded: Storage, storage: Storage) -> None:
    for write in (
        lambda: embedded.put("models/x", b""),
        lambda: embedded.create("models/x", b""),
        lambda: embedded.put_file("models/x", CHECKOUT / "README.md"),
        lambda: embedded.delete("models"),
    ):
        with pytest.raises(ColorganError, match="the models there come with colorgan"):
            write()
    both = with_embedded(storage)
    both.put("models/mine/1/model.json", b"{}")
    both.delete("models")
    assert embedded.folders("models") == sorted((*CLASSES, "general"))
    assert both.folders("models") == embedded.folders("models")
    again: Storage = pickle.loads(pickle.dumps(both))
    assert again.uri == storage.uri and version(again, "animals") == version(embedded, "animals")


def test_an_empty_bucket_has_them_too(
    s3: S3Server, embedded: Storage, scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    bucket = open_storage(f"s3://{s3.new_bucket()}/deep")
    both = with_embedded(bucket)
    assert [card.model for card in list_models(both)] == sorted((*CLASSES, "general"))
    load_generator(both, find(both, "animals"))
    for key in scenes.storage.list("datasets"):
        bucket.put(key, scenes.storage.get(key))
    own = publish_untrained(bucket, "animals")
    assert find(both, "animals") == own
    assert find(both, "people").embedded


def test_the_service_of_an_empty_storage_serves_them(
    storage: Storage, embedded: Storage, photo: Path
) -> None:
    config = ServeConfig(storage=storage.uri, device="cpu")
    parts = find_parts(config)
    assert list(parts.cards) == [*CLASSES, "general"]
    assert parts.note.startswith("colouring with the embedded models animals@embedded-")
    with TestClient(create_api(LocalBackend(config), Limits())) as client:
        answer = client.post("/colorize?class=people", files={"file": photo.read_bytes()})
        assert answer.status_code == 200
        assert answer.headers["X-Colorgan-Model"] == version(embedded, "people")
        served = client.get("/models").json()
    assert version(embedded, "general") in json.dumps(served)
    (pinned,) = pin_models({"applications": [application(storage)]})["applications"]
    assert version(embedded, "vehicles") in choice_of(pinned).packages


def application(storage: Storage) -> dict[str, Any]:
    return {"name": "c", "import_path": "serve.app:build", "args": {"storage": storage.uri}}


def test_the_service_serves_ones_own_models_where_they_are_enough(
    scenes: Dataset, embedded: Storage
) -> None:
    storage = scenes.storage
    config = ServeConfig(storage=storage.uri)
    own = {name: publish_untrained(storage, name).reference for name in CLASSES[:2]}
    parts = find_parts(config)
    assert [card.embedded for card in parts.cards.values()] == [False, False, True, True]
    own["vehicles"] = publish_untrained(storage, "vehicles").reference
    parts = find_parts(config)
    assert {name: card.reference for name, card in parts.cards.items()} == own
    assert not parts.note
    pin = version(embedded, "people")
    pinned = find_parts(config.model_copy(update={"models": (pin,)})).cards
    assert pinned["people"].reference == pin and "general" in pinned
    general = version(embedded, "general")
    pinned = find_parts(config.model_copy(update={"models": (general,)})).cards
    assert {name: card.embedded for name, card in pinned.items()} == {
        **dict.fromkeys(CLASSES, False),
        "general": True,
    }


def test_embedded_is_a_contestant(
    scenes: Dataset, embedded: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, both, classes = scenes.storage, with_embedded(scenes.storage), scenes.manifest.classes
    assert default_models(both, classes) == ("embedded", "general")
    for name in (*classes, "general"):
        publish_untrained(own, name)
    assert default_models(both, classes) == ("assembled", "general")
    found = {
        each.name: each
        for each in find_contestants(both, ["assembled", "embedded", "e2=embedded"], classes)
    }
    references = tuple(version(embedded, name) for name in classes)
    assert found["embedded"].packages == found["e2"].packages == references
    assert found["embedded"].routed
    assert not any("embedded" in each for each in found["assembled"].packages)
    monkeypatch.setenv("COLORGAN_PRETRAINED", str(tmp_path / "nothing"))
    with pytest.raises(NotInStorage, match="no models come with this colorgan"):
        find_contestants(own, ["embedded"], classes)


@pytest.mark.parametrize(
    ("model", "base"), [("animals", "animals"), ("people", "general"), ("general", "general")]
)
def test_a_training_starts_from_the_embedded_model_of_its_class_or_general(
    scenes: Dataset,
    stand_ins: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    base: str,
) -> None:
    shutil.copytree(stand_ins, tmp_path / "some")
    shutil.rmtree(tmp_path / "some" / "models" / "people")  # as of a class of one's own
    monkeypatch.setenv("COLORGAN_PRETRAINED", str(tmp_path / "some"))
    preset = Preset("", STAND_IN, fine_tuning={"epochs": 7})
    request = RunRequest("r", [model], preset, {"start_from": "embedded"}, trains_bases=False)
    configs = plan_run(scenes.storage, scenes, request).configs
    assert list(configs) == [model]
    assert configs[model].start_from == version(EmbeddedStorage(), base)
    assert configs[model].epochs == 7, "it is fine-tuned"


TINY = ("--preset", "best", "--size", "64", "--width", "8", "--discriminator-width", "4")


def test_colorgan_train_goes_on_from_an_embedded_model(
    scenes: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--storage", scenes.storage.uri, "--dataset", "scenes", "--run", "r"]
    options = [*TINY, "--model", "animals", "--start-from", "embedded", "--epochs", "1"]
    options += ["--phases", "regression", "--learning-rate", "1e-9", "--colorfulness", "0"]
    assert main([*command, *options]) == 0
    base = version(embedded, "animals")
    assert f"animals starts from {base}, which comes with colorgan" in capsys.readouterr().out
    own = find(scenes.storage, "animals")
    assert own.training["start_from"] == base and not own.embedded
    ours = load_generator(scenes.storage, own).state_dict()["write.weight"]
    theirs = load_generator(embedded, find(embedded, "animals")).state_dict()["write.weight"]
    assert np.abs((ours - theirs).numpy()).max() < 1e-4
    assert main([*command, *options]) == 0, "the run goes on, and has nothing to do"
    assert main([*command[:-1], "s", *options, "--width", "4"]) == 2
    assert "a network of another architecture" in capsys.readouterr().err


def test_starting_from_embedded_where_there_is_none_is_one_sentence(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--storage", scenes.storage.uri, "--dataset", "scenes"]
    assert main([*command, "--model", "animals", "--start-from", "embedded"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no models come with this colorgan") and said.count("\n") == 1


def test_three_lines_colour_a_photograph(storage: Storage, embedded: Storage, photo: Path) -> None:
    code = "import colorgan\ncolor = colorgan.load()\ncolor('photo.png').save('three.png')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=photo.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Image.open(photo.with_name("three.png")).size == (128, 96)


def test_a_path_bytes_a_picture_and_an_array_have_the_same_colours(
    storage: Storage, embedded: Storage, photo: Path
) -> None:
    color = colorgan.load(storage.uri, device="cpu")
    assert color.packages == {name: version(embedded, name) for name in CLASSES}
    picture = Image.open(photo)
    gray = np.asarray(picture)
    expected = color(np.repeat(gray[..., None], 3, axis=2))
    assert isinstance(expected, np.ndarray) and expected.shape == (96, 128, 3)
    for given in (str(photo), photo, photo.read_bytes(), picture, gray, gray[..., None]):
        assert np.array_equal(np.asarray(color(given)), expected)
    assert (np.asarray(color(photo, vividness=0))[..., 0] == gray).mean() > 0.9
    rgba = Image.merge("RGBA", (*Image.fromarray(expected).split(), Image.new("L", (128, 96), 7)))
    made = color(rgba)
    assert isinstance(made, Image.Image) and made.getchannel("A").getextrema() == (7, 7)
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, "PNG", exif=exif)
    assert color(turned.getvalue()).size == color(Image.open(turned)).size == (96, 128)


def test_what_cannot_be_coloured_is_said(storage: Storage, embedded: Storage, photo: Path) -> None:
    color = colorgan.load(storage.uri, models="general", device="cpu")
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros(4, np.uint8)):
        with pytest.raises(ConfigError, match="is not a photograph: give uint8"):
            color(wrong)
    with pytest.raises(ConfigError, match="vividness"):
        color(photo, vividness=3)
    with pytest.raises(ImageRejected, match="not an image"):
        color(b"no picture at all")
    with pytest.raises(FileNotFoundError):
        color("nowhere.png")


def test_models_are_chosen_by_name(scenes: Dataset, embedded: Storage) -> None:
    uri = scenes.storage.uri
    first, second = (publish_untrained(scenes.storage, "animals", n).reference for n in (1, 2))
    assert colorgan.load(uri).packages["animals"] == second
    assert colorgan.load(uri, models=[first]).packages["animals"] == first
    assert colorgan.load(uri, models="animals").packages == {"animals": second}
    alone = colorgan.load(uri, models="embedded").packages
    assert alone == {name: version(embedded, name) for name in CLASSES}
    with pytest.raises(ConfigError, match="is not the model of a class"):
        colorgan.load(uri, models=["general"])
    with pytest.raises(NotInStorage, match="no model 'cats'"):
        colorgan.load(uri, models="cats")


def test_importing_colorgan_stays_cheap() -> None:
    code = "import sys, colorgan; print(sorted(m for m in sys.modules if m[:9] == 'colorgan.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['colorgan.version']"


def test_the_models_of_the_checkout_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with colorgan: small, without pictures, and colouring as it was published."""
    monkeypatch.delenv("COLORGAN_PRETRAINED")
    embedded = EmbeddedStorage()
    models = embedded.folders("models")
    if not models:
        pytest.skip("no models are embedded yet: make pretrained trains them")
    assert {"general", *CLASSES} <= {*models}
    keys = embedded.list("models")
    assert sum(len(embedded.get(key)) for key in keys) <= 16_000_000
    wanted = {"model.json", "history.csv", "README.md", "encoder_unet.safetensors"}
    for card in list_models(embedded):
        assert card.embedded and card.encoder
        folder = f"models/{card.model}/{card.version}/"
        assert {key.removeprefix(folder) for key in keys if key.startswith(folder)} == wanted
        card_of = embedded.get(f"{folder}README.md").decode()
        for heading in ("Training", "Photographs", "Measured", "Limits", "Known biases"):
            assert f"## {heading}" in card_of, card.reference
        load_generator(embedded, card)
    picture = colorgan.load(models="embedded", device="cpu")(draw_scene("animals", 1, 96, 128))
    assert np.ptp(picture.astype(int), axis=2).max() > 10, "it has colours"
