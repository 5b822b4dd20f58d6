"""Objects are coloured by the models of their classes, and the rest by the general one."""

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import colorgan
from colorgan.archives.networks import ModelChoice, choose_models
from colorgan.classes import PhotoClasses
from colorgan.cli import main
from colorgan.data.boxes import BoxedFolder
from colorgan.data.masks import write_scenes
from colorgan.data.scenes.hybrids import draw_hybrid
from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.hybrids import Hybrid
from colorgan.images.borders import Box
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.networks import (
    GeneratorNetwork,
    ModelInfo,
    PredictedColor,
    Square,
    describe,
)
from colorgan.inference.object_choice import ObjectConfig, assemble_objects
from colorgan.inference.objects import ObjectColorizer, ObjectModel, Sight
from colorgan.inference.prediction import in_pixels
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.detection import Detection, Place
from colorgan.models.unet import UNetGenerator
from colorgan.packages.embedded import with_embedded
from colorgan.packages.releases import release
from colorgan.storage import Storage, open_storage
from colorgan.training.detector import DetectorTrainingConfig, train_detector

CLASSES = ("animals", "people", "vehicles")


class Known:
    """A detector that knows where everything is."""

    name = "known"
    classes = CLASSES

    def __init__(self, found: Sequence[Sequence[Detection]]) -> None:
        self.found = found
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[list[Detection]]:
        self.seen += [each.shape for each in pictures]
        return [list(each) for each in self.found[: len(pictures)]]


def colorizers(color_space: Any = "lab") -> dict[str, Colorizer]:
    made = {}
    for seed, name in enumerate(("general", *CLASSES)):
        torch.manual_seed(seed)
        made[name] = Colorizer(UNetGenerator(GeneratorConfig(32, 4, color_space)))
    return made


def hybrid() -> Hybrid:
    pair = ("animals", "people")
    drawn = draw_hybrid(pair, 3, 96, 128)
    return Hybrid("both", drawn.picture, drawn.owners, pair)


def test_a_scene_of_two_classes_is_coloured_by_both_models_and_the_rest_by_general() -> None:
    scene, models = hybrid(), colorizers()
    objects = ObjectColorizer(Known([scene.detections()]), models)
    (made,) = objects([scene.picture])
    (whole,) = models["general"]([scene.picture])
    assert [(each.photo_class, each.score) for each in made.objects] == [
        ("animals", 1.0),
        ("people", 1.0),
    ]
    changed = (made.rgb != whole).any(axis=-1)
    for number in (1, 2):
        assert changed[scene.owners == number].mean() > 0.5
    outside = np.ones_like(changed)
    for each in made.objects:
        tall, wide = each.box.bottom - each.box.top, each.box.right - each.box.left
        around = Box(
            max(0, each.box.top - tall // 4),
            each.box.bottom + tall // 4,
            max(0, each.box.left - wide // 4),
            each.box.right + wide // 4,
        )
        around.of(outside)[...] = False
    assert not changed[outside].any(), "far from objects, the picture is general's to the bit"
    (prediction,) = objects.predict([scene.picture])
    assert prediction.color.model.name == "objects"
    assert prediction.color.color.shape == (2, 96, 128)


@pytest.mark.parametrize("color_space", ["lab", "rgb"])
def test_without_objects_the_picture_is_generals_exactly(color_space: Any) -> None:
    models = colorizers(color_space)
    picture = hybrid().picture
    objects = ObjectColorizer(Known([[]]), models)
    (made,) = objects([picture])
    (whole,) = models["general"]([picture])
    assert (made.rgb == whole).all() and made.objects == ()
    assert objects([]) == []


def test_an_object_of_a_class_without_a_model_is_left_to_general() -> None:
    models, scene = colorizers(), hybrid()
    del models["people"]
    (made,) = ObjectColorizer(Known([scene.detections()]), models)([scene.picture])
    assert [each.photo_class for each in made.objects] == ["animals"]
    with pytest.raises(ConfigError, match="needs a model of general"):
        ObjectColorizer(Known([]), {"people": colorizers()["people"]})
    with pytest.raises(ConfigError, match="needs a model of animals or people or vehicles"):
        ObjectColorizer(Known([]), {"general": models["general"]})


def test_the_most_certain_object_lies_on_top() -> None:
    whole = Place(0.0, 1.0, 0.0, 1.0)
    picture, models = hybrid().picture, colorizers()
    both = [Detection("people", "person", 0.9, whole), Detection("animals", "dog", 0.4, whole)]
    (made,) = ObjectColorizer(Known([both]), models)([picture])
    (alone,) = ObjectColorizer(Known([both[:1]]), models)([picture])
    assert (made.rgb == alone.rgb).all()


def test_hints_vividness_and_prints_work_as_with_other_models() -> None:
    scene = hybrid()
    objects = ObjectColorizer(Known([scene.detections()]), colorizers())
    gray = objects([scene.picture], vividness=0)[0].rgb
    assert (gray.max(axis=-1) - gray.min(axis=-1)).max() <= 1
    hint = colorgan.inference.hints.Hint(10, 12, "#3060c0")
    (hinted,) = objects([scene.picture], hints=[hint])
    assert hinted.rgb[12, 10, 2] > hinted.rgb[12, 10, 0]
    framed = np.pad(scene.picture, ((12, 12), (16, 16), (0, 0)), constant_values=240)
    (print_,) = objects([framed], restoring="colors")
    assert print_.rgb.shape == framed.shape and len(print_.objects) == 2


def test_boxes_are_in_pixels_of_the_photograph_also_within_a_border() -> None:
    found = [Detection("people", "person", 0.5, Place(0.25, 0.5, 0.1, 1.0))]
    (plain,) = in_pixels(found, 100, 200)
    assert plain.box == Box(25, 50, 20, 200)
    (inside,) = in_pixels(found, 140, 220, Box(10, 110, 5, 205))
    assert inside.box == Box(35, 60, 25, 205)


class InThreads:
    """Networks and steps in threads, as in a service."""

    concurrent = True

    def __init__(self, detector: Known) -> None:
        models = colorizers()
        self.infos = {name: describe(each, name, f"{name}@1") for name, each in models.items()}
        self.generators = {
            name: GeneratorNetwork(each, self.infos[name]) for name, each in models.items()
        }
        self.detector = detector
        self.painted: list[tuple[str, int]] = []

    async def models(self) -> Mapping[str, ModelInfo]:
        return self.infos

    async def paint(self, model: str, squares: Sequence[Square]) -> Sequence[PredictedColor]:
        self.painted.append((model, len(squares)))
        return await asyncio.to_thread(self.generators[model].work, squares)

    async def detect(self, pictures: Sequence[np.ndarray]) -> Sequence[Sequence[Detection]]:
        return await asyncio.to_thread(self.detector, pictures)

    def stage(self, name: str) -> nullcontext[None]:
        return nullcontext()

    async def run(self, step: Any, *arguments: Any) -> Any:
        return await asyncio.to_thread(step, *arguments)

    async def together(self, *steps: Any) -> Sequence[Any]:
        return await asyncio.gather(*steps)


def test_the_crops_of_a_class_are_one_batch_wherever_the_networks_run() -> None:
    scene = hybrid()
    first, second = scene.detections()
    found = [[first, second], [second, second], []]
    backend = InThreads(Known(found))
    pictures = [scene.picture, scene.picture[:, ::-1].copy(), scene.picture]
    predicted = asyncio.run(ObjectModel(backend, backend).predict(pictures))
    assert backend.painted == [("general", 3), ("animals", 1), ("people", 3)]
    here = ObjectColorizer(Known(found), colorizers()).predict(pictures)
    for ours, theirs in zip(predicted, here, strict=True):
        np.testing.assert_allclose(ours.color.color, theirs.color.color, atol=1e-5)
    assert predicted[0].color.model.reference == "general@1,animals@1,people@1"
    assert predicted[2].color.model.reference == "general@1"


def test_a_detector_sees_a_smaller_copy_of_a_large_photograph() -> None:
    sight = Sight.of(np.zeros((1000, 3000, 3), np.uint8), 32)
    assert sight.picture.shape == (341, 1024, 3) and sight.size == (1000, 3000)
    assert Sight.of(np.zeros((30, 40, 3), np.uint8), 32).picture.shape == (30, 40, 3)


@pytest.fixture(scope="module")
def with_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a storage with a detector that has hardly learned anything."""
    root, folder = (tmp_path_factory.mktemp(name) for name in ("detector", "boxes"))
    write_scenes(folder / "scenes", 5, seed=3, size=64)
    config = DetectorTrainingConfig(size=64, width=32, epochs=1)
    storage = open_storage(str(root))
    boxes = BoxedFolder(folder / "scenes")
    card = train_detector(storage, boxes, config, torch.device("cpu"), PhotoClasses.load())
    release(storage, card.reference, force=True)
    return root


def test_the_command_colours_by_objects(
    with_detector: Path,
    embedded: Storage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = hybrid()
    path, out = tmp_path / "both.png", tmp_path / "out.png"
    Image.fromarray(scene.picture).save(path)
    command = ["colorize", "--storage", str(with_detector), str(path), "--model", "objects"]
    assert main([*command, "-o", str(out), "--object-score", "0"]) == 0
    said = capsys.readouterr()
    assert "objects (" in said.out and "coloured by general@" in said.out
    assert "note: objects are found by detector@" in said.err
    assert main([*command, "-o", str(out), "--object-score", "1", "--overwrite"]) == 0
    assert "no object, coloured by general@" in capsys.readouterr().out
    whole = tmp_path / "general.png"
    command[-1] = "general"
    assert main([*command, "-o", str(whole)]) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_what_travels_between_the_processes_of_a_job_can_be_pickled(
    with_detector: Path, embedded: Storage
) -> None:
    wanted = ModelChoice("objects", objects=ObjectConfig(object_score=0.0))
    chosen = pickle.loads(pickle.dumps(choose_models(wanted, str(with_detector))))
    networks = chosen.load(torch.device("cpu"))
    inputs = pickle.loads(pickle.dumps(networks.inputs))
    squares = pickle.loads(pickle.dumps(inputs(hybrid().picture)))
    (made,) = (pickle.loads(pickle.dumps(each)) for each in networks.predict([squares]))
    assert made.detections and made.photo_class == "objects" and made.color.shape == (2, 96, 128)


def test_a_program_loads_objects(with_detector: Path, embedded: Storage) -> None:
    scene = hybrid()
    options = ObjectConfig(object_score=0.0)
    color = colorgan.load(str(with_detector), models="objects", device="cpu", objects=options)
    assert color(scene.picture).shape == scene.picture.shape
    found = color.find_objects(scene.picture)
    assert found and {each.photo_class for each in found} <= {*CLASSES}
    height, width = scene.picture.shape[:2]
    assert all(each.box.bottom <= height and each.box.right <= width for each in found)
    assert "general" in color.packages
    assert colorgan.load(models="general").find_objects(scene.picture) == ()


def test_what_is_missing_is_said_with_the_way_out(
    storage: Storage, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotInStorage, match="no released model of general: python jobs/train_all"):
        assemble_objects(ObjectConfig(), storage)
    own = with_embedded(storage)
    with pytest.raises(NotInStorage, match="colorgan train-detector FOLDER trains one"):
        assemble_objects(ObjectConfig(detector="trained"), own)
    with pytest.raises(ConfigError, match="no detector 'labels@3': choose labels, trained"):
        assemble_objects(ObjectConfig(detector="labels@3"), own)  # before it says what finds them
    chosen = assemble_objects(ObjectConfig(), own)
    assert chosen.config.detector == "labels" and "train-detector" in chosen.note
    assert list(chosen.cards) == ["general", *CLASSES]
    with pytest.raises(ConfigError, match="--detector-weights needs --detector NAME"):
        ObjectConfig(detector_weights="file.pth")
    run = ["colorize", "photo.jpg", "-o", "out.png"]
    assert main([*run, "--object-score", "0.4"]) == 2
    assert "add --model objects" in capsys.readouterr().err
    assert main([*run, "--model", "objects", "--class", "people"]) == 2
    assert "drop --model objects" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--variants", "--variant"])
def test_objects_are_coloured_in_one_way(
    with_detector: Path, embedded: Storage, tmp_path: Path, capsys: Any, option: str
) -> None:
    path, out = tmp_path / "both.png", tmp_path / "out"
    Image.fromarray(hybrid().picture).save(path)
    command = ["colorize", "--storage", str(with_detector), str(path), "--model", "objects"]
    assert main([*command, "-o", f"{out}/", option, "2"]) == 2
    said = capsys.readouterr().err
    assert "--model objects colours in one way: name another model" in said
    assert "noise" not in said and not out.exists()


def test_films_are_not_coloured_by_objects(tmp_path: Path, capsys: Any) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"")
    assert main(["colorize", str(film), "-o", f"{tmp_path}/out/", "--model", "objects"]) == 2
    assert "from frame to frame" in capsys.readouterr().err
