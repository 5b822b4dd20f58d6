import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torchvision import models
from torchvision.models import segmentation
from torchvision.transforms import functional as vision

from colorgan.classes import imagenet_labels
from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.images.decoding import to_image
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.architectures import SegmenterConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.fcn import FCN8s
from colorgan.models.segmenters import (
    OTHER,
    dense_classifier,
    load_segmenter,
    trained_segmenter,
)
from tests.models.test_classifiers import photograph

CAT = segmentation.FCN_ResNet50_Weights.DEFAULT.meta["categories"].index("cat")
SMALLEST = "lraspp_mobilenet_v3_large"


def write_weights(name: str, path: Path) -> Path:
    """A file as torchvision's, all zero but the last bias: every pixel is a cat."""
    aux = {} if name == SMALLEST else {"aux_loss": True}
    with torch.device("meta"):
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=21, **aux)
    state = {
        key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        for key, tensor in network.state_dict().items()
    }
    last = [
        key
        for key in state
        if key.endswith(".bias") and state[key].shape == (21,) and not key.startswith("aux")
    ]
    bias = torch.zeros(21)
    bias[CAT] = 1
    torch.save({**state, last[-1]: bias}, path)
    return path


@pytest.mark.parametrize(
    "name", ["fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", SMALLEST]
)
def test_torchvisions_networks_take_their_weights_from_a_file(name: str, tmp_path: Path) -> None:
    segmenter = load_segmenter(name, write_weights(name, tmp_path / "weights.pth"))
    assert segmenter.classes[CAT] == "cat" and len(segmenter.classes) == 21
    with torch.inference_mode():
        scores = segmenter.network(torch.rand(1, 3, 64, 96))
    assert scores.shape == (1, 21, 64, 96)
    assert (scores.argmax(dim=1) == CAT).all()


def test_torchvisions_weights_are_found_in_its_cache_and_every_pixel_gets_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    url = models.get_model_weights(SMALLEST).DEFAULT.url
    write_weights(SMALLEST, cache / Path(url).name)
    segmenter = load_segmenter(SMALLEST)
    seen = segmenter([photograph(60, 80, seed) for seed in (1, 2)])
    assert (seen.shape, seen.dtype) == ((2, 520, 693), np.uint8)
    assert (seen == CAT).all()


def test_the_transform_is_torchvisions(tmp_path: Path) -> None:
    segmenter = load_segmenter(SMALLEST, write_weights(SMALLEST, tmp_path / "weights.pth"))
    image = to_image(photograph(60, 80))
    expected = vision.pil_to_tensor(vision.resize(image, [520]))
    assert torch.equal(segmenter.prepare(np.asarray(image)), expected)


def test_weights_that_cannot_be_downloaded_are_one_sentence_with_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ColorganError) as caught:
        load_segmenter("fcn_resnet50")
    for word in (str(tmp_path), "https://", "--segmenter-weights", f"--segmenter {EMBEDDED}"):
        assert word in str(caught.value)


def test_another_networks_file_and_an_unknown_name_are_one_sentence(tmp_path: Path) -> None:
    path = write_weights(SMALLEST, tmp_path / "weights.pth")
    with pytest.raises(Corrupt, match=r"does not hold the weights of fcn_resnet50: .* tensors"):
        load_segmenter("fcn_resnet50", path)
    with pytest.raises(ConfigError, match=r"no segmenter 'unet': choose trained .*deeplabv3"):
        load_segmenter("unet")
    with pytest.raises(ConfigError, match="there is no file"):
        load_segmenter("fcn_resnet50", tmp_path / "nowhere.pth")


def fcn(size: int = 64, classes: tuple[str, ...] = ("sky", "ground", "animal")) -> FCN8s:
    torch.manual_seed(0)
    return FCN8s(SegmenterConfig(size, 8, EMBEDDED, classes)).eval()


def doubled(scores: torch.Tensor, factor: int = 2) -> torch.Tensor:
    return F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)


def test_fcn_8s_starts_from_the_coarsest_scores_and_adds_those_of_strides_16_and_8() -> None:
    network = fcn()
    pictures = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        fine, middle, coarse = network.encode(pictures)
        assert [64 // each.shape[2] for each in (fine, middle, coarse)] == [8, 16, 32]
        deep = network.coarse(coarse)
        torch.testing.assert_close(network(pictures), doubled(doubled(doubled(deep)), 8))
        for skip in (network.middle, network.fine):
            torch.nn.init.normal_(skip.weight)
        at_16 = doubled(deep) + network.middle(middle)
        at_8 = doubled(at_16) + network.fine(fine)
        torch.testing.assert_close(network(pictures), doubled(at_8, 8))
        assert network(pictures).shape == (2, 3, 64, 96)


def test_only_the_decoder_of_fcn_8s_learns() -> None:
    network = fcn().train()
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    learned = {
        name.split(".")[0] for name, each in network.named_parameters() if each.requires_grad
    }
    assert learned == {"coarse", "middle", "fine"}
    assert all(each.grad is None for each in network.encoder.parameters())
    assert not network.encoder.training


def test_a_trained_segmenter_sees_whole_photographs_as_squares() -> None:
    segmenter = trained_segmenter("segmenter@1", fcn())
    seen = segmenter([photograph(50, 80), photograph(50, 80, 1)])
    assert seen.shape == (2, 64, 64)
    assert seen.max() < 3


@pytest.mark.parametrize("name", [EMBEDDED, JUDGE])
def test_the_dense_classifier_says_of_a_cell_what_the_classifier_does(name: str) -> None:
    """In a picture of one cell of 32 px, there is nothing to average over."""
    labels = [label.synset for label in imagenet_labels()]
    synsets = {"first": labels[:300], "second": labels[300:500]}
    segmenter = dense_classifier(synsets, name)
    assert segmenter.classes == (OTHER, "first", "second")
    picture = torch.rand(1, 3, 32, 32)
    classifier = load_classifier(name)
    with torch.inference_mode():
        likely = classifier.network(classifier.normalized(picture)).softmax(dim=1)[0]
        seen = segmenter.network(picture)[0]
    expected = torch.stack([likely[500:].sum(), likely[:300].sum(), likely[300:500].sum()])
    torch.testing.assert_close(
        seen, expected[:, None, None].expand(3, 32, 32), rtol=1e-3, atol=1e-5
    )
    assert math.isclose(seen.sum().item(), 32 * 32, rel_tol=1e-3)


def test_the_dense_classifier_of_a_photograph_has_a_class_per_pixel() -> None:
    seen = dense_classifier({"animals": ["n01440764"]})([photograph(60, 90)])
    assert seen.shape == (1, 448, 448) and seen.max() <= 1
