"""Boxes, their average precision, and a detector that learns them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.classes import PhotoClasses
from colorgan.cli import main
from colorgan.data.boxes import BoxedFolder, boxes_of
from colorgan.data.masks import write_scenes
from colorgan.data.scenes import REGIONS
from colorgan.data.scenes.hybrids import PAIRS, draw_hybrid
from colorgan.errors import ConfigError, Corrupt
from colorgan.metrics import FoundBoxes, average_precision
from colorgan.models.detectors import trained_detector
from colorgan.packages.card import find
from colorgan.packages.weights import load_detector
from colorgan.storage import Storage

XML = """<annotation><object><name>dog</name><bndbox><xmin>3</xmin><ymin>5</ymin><xmax>10</xmax>
<ymax>12</ymax></bndbox></object><object><name>chair</name><bndbox><xmin>1</xmin><ymin>1</ymin>
<xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>"""


def annotated(folder: Path, xml: str = XML) -> Path:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"ImageSets/Main/{split}.txt").write_text("one\n")
    Image.new("RGB", (40, 30), "gray").save(folder / "JPEGImages/one.png")
    (folder / "Annotations/one.xml").write_text(xml)
    return folder


def test_boxes_are_read_from_annotations(tmp_path: Path) -> None:
    folder = BoxedFolder(annotated(tmp_path / "own"))
    (boxed,) = folder.read(folder.names("train"))
    assert boxed.things == ("dog", "chair")
    assert boxed.boxes.tolist() == [[2, 4, 10, 12], [0, 0, 4, 4]]
    assert boxed.picture.shape == (30, 40, 3)


def test_faulty_boxes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^there is no folder .*nowhere$"):
        BoxedFolder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"neither a folder Annotations .* SegmentationClass"):
        BoxedFolder(tmp_path)
    folder = BoxedFolder(annotated(tmp_path / "a", XML.replace("<xmax>10</xmax>", "")))
    with pytest.raises(Corrupt, match=r"one.xml cannot be read as boxes .*an object has no xmax"):
        list(folder.read(["one"]))
    with pytest.raises(ConfigError, match="has no picture two"):
        list(folder.read(["two"]))
    for side in ("2", "nan", "inf"):
        turned = XML.replace("<xmax>10</xmax>", f"<xmax>{side}</xmax>")
        (tmp_path / "a/Annotations/one.xml").write_text(turned)
        with pytest.raises(Corrupt, match="a box ends before it begins"):
            list(folder.read(["one"]))
    (tmp_path / "a/Annotations/one.xml").write_text("<annotation")
    with pytest.raises(Corrupt, match="cannot be read as boxes"):
        list(folder.read(["one"]))


def test_the_connected_parts_of_a_mask_have_a_box_each() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:8, 3:9] = 1
    mask[10:20, 20:30] = 1
    mask[0, 0] = 2  # a speck
    boxes, things = boxes_of(mask, ("background", "animal", "person"))
    assert things == ("background", "animal", "animal")
    assert boxes[1:].tolist() == [[3, 2, 9, 8], [20, 10, 30, 20]]


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_a_hybrid_scene_shows_both_classes_in_known_places(number: int) -> None:
    drawn = draw_hybrid(PAIRS[number], number, 64, 86)
    again = draw_hybrid(PAIRS[number], number, 64, 86)
    assert (drawn.picture == again.picture).all() and drawn.picture.shape == (64, 86, 3)
    objects = {"animals": "animal", "people": "person", "vehicles": "vehicle"}
    for owner, name in enumerate(PAIRS[number], 1):
        inside = drawn.owners == owner
        assert inside.mean() > 0.01
        assert (drawn.regions[inside] == REGIONS.index(objects[name])).all()


def found(*boxes: tuple[tuple[float, float, float, float], int, float]) -> FoundBoxes:
    return FoundBoxes(
        np.array([each[0] for each in boxes], np.float32).reshape(-1, 4),
        np.array([each[1] for each in boxes], np.int64),
        np.array([each[2] for each in boxes], np.float32),
    )


def test_average_precision_is_as_computed_by_hand() -> None:
    there = found(((0, 0, 10, 10), 1, 1.0), ((20, 0, 30, 10), 1, 1.0))
    right, double = ((0, 0, 10, 9), 1), ((0, 0, 10, 10), 1)
    wrong, other = ((50, 50, 60, 60), 1), ((20, 0, 30, 10), 2)
    assert average_precision([there], [there]) == 1
    assert average_precision([found()], [there]) == 0
    # Right, wrong, then the second one: precision 1 at half the recall, 2/3 at all of it.
    made = found((*right, 0.9), (*wrong, 0.8), ((20, 0, 30, 10), 1, 0.7))
    assert average_precision([made], [there]) == pytest.approx((1 + 2 / 3) / 2)
    # A box that is found twice is right once, and a label of another kind does not count.
    made = found((*right, 0.9), (*double, 0.8), (*other, 0.7))
    assert average_precision([made], [there]) == pytest.approx(0.5)
    assert np.isnan(average_precision([made], [found()]))


def test_the_command_trains_a_detector_and_publishes_it(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(tmp_path / "scenes", 5, seed=2, size=64, hybrids=5)
    command = ["train-detector", "--storage", storage.uri, str(tmp_path / "scenes")]
    options = ["--size", "64", "--width", "32", "--epochs", "2", "--batch-size", "4"]
    assert main([*command, *options]) == 0
    printed = capsys.readouterr().out
    assert "finds animal, person, vehicle, from 16 pictures" in printed
    card = find(storage, "detector")
    assert card.kind == "detector" and not card.colors
    assert card.encoder is not None, "the package names its encoder"
    assert sum(each.bytes for each in card.files.values()) < 1_500_000
    assert 0 <= card.metrics["val_precision"] <= 1
    detector = trained_detector("own", load_detector(storage, card), PhotoClasses.load(), 0.0)
    assert detector.classes == ("animals", "people", "vehicles")
    scene = draw_hybrid(("animals", "people"), 1, 64, 86).picture
    (seen,) = detector([scene])
    (again,) = detector([scene])
    assert seen and seen == again
    assert main(["models", "--storage", storage.uri]) == 0
    assert "FCOS on efficientnet_lite0" in capsys.readouterr().out


def test_a_folder_without_things_of_the_classes_is_refused(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = annotated(tmp_path / "own", XML.replace("dog", "table"))
    assert main(["train-detector", "--storage", storage.uri, str(folder)]) == 2
    assert "no box of the classes animals" in capsys.readouterr().err
    assert main(["train-detector", "--storage", storage.uri, str(folder), "--width", "40"]) == 2
    assert "not a multiple of 32" in capsys.readouterr().err


def test_things_that_are_not_learned_do_not_count_in_validation(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = annotated(tmp_path / "own")
    (folder / "ImageSets/Main/val.txt").write_text("two\n")
    Image.new("RGB", (40, 30), "gray").save(folder / "JPEGImages/two.png")
    (folder / "Annotations/two.xml").write_text(XML.replace("chair", "cat"))
    options = ["--size", "64", "--width", "32", "--epochs", "1"]
    command = ["train-detector", "--storage", storage.uri, str(folder), *options]
    assert main(command) == 0
    assert "finds dog" in capsys.readouterr().out
    (folder / "Annotations/two.xml").write_text(XML.replace("dog", "cat"))
    assert main(command) == 2
    assert "has in its split val no box of dog" in capsys.readouterr().err
