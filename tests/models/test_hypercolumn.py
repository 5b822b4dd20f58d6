import dataclasses

import numpy as np
import pytest
import torch
from torchvision.models import vgg16

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.images.lab import decode, encode
from colorgan.inference.colorizer import Colorizer
from colorgan.metrics import ab_l1
from colorgan.models import EMBEDDED
from colorgan.models.architectures import BACKBONES, HypercolumnConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.precision import fastest_dtype
from colorgan.names import HYPERCOLUMN
from colorgan.packages.card import find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.training.config import TrainingConfig
from colorgan.training.loop import Training, load_banks

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    size=64, width=8, epochs=4, batch_size=4, learning_rate=2e-3, backbone=EMBEDDED
)


def train(scenes: Dataset, config: TrainingConfig = CONFIG) -> Training:
    return Training(config, *load_banks(scenes, HYPERCOLUMN, config), CPU, model=HYPERCOLUMN)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_writes_u_and_v_of_the_pictures_size(backbone: str) -> None:
    network = HypercolumnNetwork(HypercolumnConfig(64, 4, backbone)).eval()
    with torch.no_grad():
        color = network(torch.zeros(2, 1, 64, 64))
    assert color.shape == (2, 2, 64, 64)
    assert color.abs().max() <= 1


def test_the_hypercolumns_of_vgg16_are_those_of_the_original() -> None:
    torch.manual_seed(0)
    whole = vgg16(weights=None).eval()
    network = HypercolumnNetwork(HypercolumnConfig(64, 3, "vgg16"), whole)
    luma = torch.rand(1, 1, 32, 32) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((luma + 1) / 2 - mean[:, None, None]) / std[:, None, None]
    expected = []
    for place, layer in enumerate(whole.features):
        x = layer(x)
        if place in (3, 8, 15, 22):  # conv1_2, conv2_2, conv3_3, conv4_3, each after its ReLU
            expected.append(x.clone())
    features = network.backbone(luma)
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    for feature, reference in zip(features, expected, strict=True):
        torch.testing.assert_close(feature, reference)


def test_the_features_of_the_embedded_classifier_are_its_own() -> None:
    classifier = load_classifier(EMBEDDED)
    network = HypercolumnNetwork(HypercolumnConfig(64, 4, EMBEDDED), classifier.network)
    luma = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        *_, last = network.backbone(luma)
        rest = classifier.network.get_submodule("conv_head")(last)
        rest = classifier.network.get_submodule("bn2")(rest)
        rest = classifier.network.get_submodule("global_pool")(rest)
        logits = classifier.network.get_submodule("classifier")(rest)
        torch.testing.assert_close(logits, classifier.network(luma.expand(-1, 3, -1, -1)))


def test_it_learns_and_leaves_the_backbone_as_it_was(scenes: Dataset) -> None:
    training = train(scenes)
    before = {k: v.clone() for k, v in training.generator.backbone.state_dict().items()}
    list(training.run())
    for name, tensor in training.generator.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    gray = []
    for rgb in load_banks(scenes, HYPERCOLUMN, CONFIG)[1].in_order(8):
        luma, color = encode(rgb, "yuv")
        gray.append(ab_l1(decode(luma, color * 0, "yuv"), rgb.float() / 255))
    assert training.history[-1].val_l1 < 0.85 * torch.cat(gray).mean().item()


def test_it_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(scenes: Dataset) -> None:
    config = dataclasses.replace(CONFIG, epochs=2)
    whole = train(scenes, config)
    list(whole.run())
    first = train(scenes, config)
    next(first.run())
    second = train(scenes, config)
    second.load(first.snapshot().files())
    list(second.run())
    assert [r.loss_l1 for r in second.history] == [r.loss_l1 for r in whole.history]


def test_its_package_needs_no_other_weights_and_colours_the_same(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = train(scenes).generator
    trained = Trained(network, scenes.manifest.classes, {}, {}, 1.0, "cpu")
    publish(scenes.storage, HYPERCOLUMN, scenes, trained)
    card = find(scenes.storage, HYPERCOLUMN)
    assert (card.kind, card.colors) == ("hypercolumn", True)
    assert card.architecture == HypercolumnConfig(64, 8, EMBEDDED)
    monkeypatch.setattr("colorgan.models.classifiers.load_classifier", None)
    loaded = load_generator(scenes.storage, card)
    photograph = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (mine,), (theirs,) = Colorizer(network)([photograph]), Colorizer(loaded)([photograph])
    assert mine.shape == photograph.shape
    # The weights of a package are rounded, which in bfloat16 changes nothing.
    exact = fastest_dtype(torch.device("cpu")) == torch.bfloat16
    assert np.abs(mine.astype(int) - theirs).max() <= (0 if exact else 1)


def test_the_photographs_own_luma_stays() -> None:
    network = HypercolumnNetwork(HypercolumnConfig(64, 4, EMBEDDED))
    photograph = np.full((40, 60, 3), 128, np.uint8)
    photograph[:, 30:] = 90
    (colored,) = Colorizer(network)([photograph])
    luma = colored.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(luma - photograph[..., 0]).max() < 1


def test_a_backbone_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="backbone resnet18: choose from vgg16"):
        TrainingConfig(backbone="resnet18")
