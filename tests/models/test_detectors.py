"""Detectors: torchvision's from a file, and the included classifier without training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import models
from torchvision.models import detection

from colorgan.classes import PhotoClasses, coco_supercategories
from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.models.detection import Detection, Place
from colorgan.models.detectors import (
    BoxDetector,
    LabelDetector,
    MaskedDetector,
    NetworkDetector,
    gray,
    load_torchvision,
)
from colorgan.models.segmenters import Segmenter

CPU = torch.device("cpu")
RULE = PhotoClasses.load()
SMALLEST = "ssdlite320_mobilenet_v3_large"
COCO = detection.MaskRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]


def test_cocos_categories_belong_to_the_classes() -> None:
    known = coco_supercategories()
    named = {each for each in COCO if each not in ("__background__", "N/A")}
    assert named <= set(known) and len(set(known.values())) == 12
    assert RULE.class_of("person") == "people"
    for thing in ("dog", "bird", "giraffe", "animal", "animals"):
        assert RULE.class_of(thing) == "animals"
    for thing in ("car", "airplane", "aeroplane", "motorbike", "boat", "vehicle"):
        assert RULE.class_of(thing) == "vehicles"
    for thing in ("chair", "diningtable", "umbrella", "background", "sky", "N/A", "teddy bear"):
        assert RULE.class_of(thing) is None
    belonging = [each for each in COCO if RULE.class_of(each)]
    assert len(belonging) == 1 + 10 + 8


def test_classes_of_ones_own_take_categories_or_supercategories(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        'fallback = "food"\n[classes.food]\nn07753592 = "banana"\n[classes.dogs]\n'
        'n02085620 = "Chihuahua"\n[coco]\nfood = ["food"]\ndogs = ["dog"]\n'
    )
    rule = PhotoClasses.load(file)
    assert [rule.class_of(each) for each in ("pizza", "dog", "cat", "dogs")] == [
        *("food", "dogs"),
        *(None, "dogs"),
    ]


def write_weights(path: Path) -> Path:
    """A file as torchvision's, with random weights and a bias: everything is a dog."""
    torch.manual_seed(0)
    network = models.get_model(SMALLEST, weights=None, weights_backbone=None, num_classes=len(COCO))
    state = network.state_dict()
    for name, tensor in state.items():
        if "classification_head" in name and tensor.ndim == 1 and len(tensor) % len(COCO) == 0:
            tensor.view(-1, len(COCO))[:, COCO.index("dog")] = 9
    torch.save(state, path)
    return path


def test_torchvisions_detector_takes_its_weights_from_a_file(tmp_path: Path) -> None:
    detector = load_torchvision(SMALLEST, RULE, 0.5, write_weights(tmp_path / "own.pth"))
    assert detector.classes == ("animals", "people", "vehicles")
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (found,) = detector([picture])
    assert found and {each.label for each in found} == {"dog"}
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    for each in found:
        assert RULE.class_of(each.label) == each.photo_class
        assert 0 <= each.place.top < each.place.bottom <= 1
        assert 0 <= each.place.left < each.place.right <= 1
    assert detector([gray(picture)]) == [found], "it sees no colour"


def test_a_wrong_file_and_an_unknown_name_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(Corrupt, match=f"does not hold the weights of {SMALLEST}"):
        load_torchvision(SMALLEST, RULE, 0.5, path)
    path.write_bytes(b"no weights")
    with pytest.raises(Corrupt, match="cannot be read as weights"):
        load_torchvision(SMALLEST, RULE, 0.5, path)
    with pytest.raises(ConfigError, match=r"no detector 'yolo': choose labels, trained .*maskrcnn"):
        load_torchvision("yolo", RULE, 0.5)
    with pytest.raises(ConfigError, match="there is no file"):
        load_torchvision(SMALLEST, RULE, 0.5, tmp_path / "nowhere.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ColorganError) as caught:
        load_torchvision(SMALLEST, RULE, 0.5)
    for word in (str(tmp_path), "https://", "--detector-weights", "--detector labels"):
        assert word in str(caught.value)


def answering(**made: Any) -> NetworkDetector:
    labels = ("__background__", "person", "chair", "dog")
    return NetworkDetector("own", lambda pictures: [made], labels, RULE, CPU, 0.5)


def test_boxes_masks_and_labels_of_a_network_become_detections() -> None:
    masks = torch.zeros(4, 1, 40, 80)
    masks[1, 0, 10:30, 20:40] = 1
    detector = answering(
        boxes=torch.tensor([[0, 0, 40, 40], [20, 10, 60, 30], [0, 0, 9, 9], [-5, 0, 90, 40.0]]),
        labels=torch.tensor([2, 1, 3, 3]),
        scores=torch.tensor([0.9, 0.6, 0.4, 0.8]),
        masks=masks,
    )
    assert detector.classes == ("animals", "people")
    (found,) = detector([np.zeros((40, 80, 3), np.uint8)])
    assert [(each.photo_class, each.label) for each in found] == [
        ("animals", "dog"),
        ("people", "person"),
    ]
    assert found[0].place == Place(0.0, 1.0, 0.0, 1.0)
    assert found[1].place == Place(0.25, 0.75, 0.25, 0.75)
    mask = found[1].mask
    assert mask is not None and mask.shape == (20, 40)
    assert (mask[:, :20] == 255).all() and (mask[:, 20:] == 0).all()
    assert BoxDetector(detector)([np.zeros((40, 80, 3), np.uint8)])[0][1].mask is None


def test_a_detector_of_nothing_of_the_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"finds nothing of the classes animals.*--classes"):
        NetworkDetector("own", lambda pictures: [], ("chair",), RULE, CPU, 0.5)


def test_a_segmenter_gives_the_masks() -> None:
    def prepare(rgb: np.ndarray) -> torch.Tensor:
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    def network(pictures: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(1, 2, 8, 8)
        scores[:, 1, :, 4:6] = 1  # a person in two columns
        return scores

    segmenter = Segmenter("own", ("background", "person"), prepare, network, CPU)
    detector = answering(
        boxes=torch.tensor([[0, 0, 80, 40], [0, 0, 20, 40.0]]),
        labels=torch.tensor([1, 3]),
        scores=torch.tensor([0.9, 0.8]),
    )
    (found,) = MaskedDetector(detector, segmenter, RULE)([np.zeros((40, 80, 3), np.uint8)])
    mask = found[0].mask
    assert mask is not None and mask.tolist() == [[0, 0, 0, 0, 255, 255, 0, 0]] * 8
    assert found[1].mask is None, "the segmenter sees no animal there"


def test_connected_labels_are_an_object_with_a_mask() -> None:
    def network(pictures: torch.Tensor) -> torch.Tensor:
        likely = torch.full((1, 3, 56, 56), 0.1)
        likely[0, 0] = 0.8
        likely[0, :, 10:30, 5:25] = torch.tensor([0.1, 0.8, 0.1])[:, None, None]
        likely[0, :, 40:56, 40:56] = torch.tensor([0.2, 0.2, 0.6])[:, None, None]
        likely[0, :, 0:2, 0:2] = torch.tensor([0.0, 0.0, 1.0])[:, None, None]  # too small
        return likely

    def prepare(rgb: np.ndarray) -> torch.Tensor:
        return torch.zeros(3, 56, 56, dtype=torch.uint8)

    segmenter = Segmenter("own", ("other", "animals", "people"), prepare, network, CPU)
    (found,) = LabelDetector(segmenter, 0.3)([np.zeros((20, 20, 3), np.uint8)])
    assert [each.photo_class for each in found] == ["animals", "people"]
    assert found[0].score == pytest.approx(0.8)
    assert found[0].place == Place(10 / 56, 30 / 56, 5 / 56, 25 / 56)
    assert isinstance(found[0], Detection) and found[0].mask is not None
    assert (found[0].mask == 255).all() and found[0].mask.shape == (20, 20)
    (none,) = LabelDetector(segmenter, 0.9)([np.zeros((20, 20, 3), np.uint8)])
    assert none == []
