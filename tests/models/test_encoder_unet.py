"""The generator with a pretrained encoder: its shape, its encoder, its training and its package."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.images.decoding import decode
from colorgan.inference.colorizer import Colorizer
from colorgan.models import EMBEDDED
from colorgan.models.architectures import BACKBONES, EncoderUNetConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator, SelfAttention
from colorgan.packages.card import find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.training.config import TrainingConfig
from colorgan.training.loop import Training, load_banks

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    generator="encoder_unet",
    size=64,
    width=4,
    discriminator_width=4,
    epochs=2,
    phases="regression+adversarial",
    average=0.9,
)


def generator(encoder: str = EMBEDDED, size: int = 64) -> EncoderUNetGenerator:
    torch.manual_seed(0)
    return EncoderUNetGenerator(EncoderUNetConfig(size, 4, "lab", "instance", encoder))


@pytest.mark.parametrize("encoder", BACKBONES)
def test_it_writes_the_colour_space_at_the_pictures_size(encoder: str) -> None:
    network = generator(encoder).eval()
    with torch.no_grad():
        color = network(torch.zeros(2, 1, 64, 96))
    assert color.shape == (2, 2, 64, 96)
    assert color.abs().max() <= 1


def test_every_stage_of_the_encoder_reaches_the_picture() -> None:
    network = generator().eval()
    features = network.encoder(torch.zeros(1, 1, 64, 64))
    assert [feature.shape[-1] for feature in features] == [32, 16, 8, 4, 2]
    lightness = torch.randn(1, 1, 64, 64, requires_grad=True)
    network(lightness).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_features_beyond_the_usual_do_not_grow_on_their_way() -> None:
    network = EncoderUNetGenerator(EncoderUNetConfig(64, 4, "lab", "batch", EMBEDDED)).eval()
    last: list[torch.Tensor] = []
    network.write.register_forward_hook(lambda module, inputs, output: last.append(inputs[0]))
    with torch.no_grad():
        features = network.encode(torch.zeros(1, 1, 64, 64).uniform_(-1, 1))
        network.decode([1e4 * each for each in features])
    assert 0 < last[0].max() <= 6


def test_it_begins_with_the_classifiers_own_features() -> None:
    classifier = load_classifier(EMBEDDED)
    network = EncoderUNetGenerator(
        EncoderUNetConfig(64, 4, "lab", "instance", EMBEDDED), classifier.network
    )
    luma = torch.rand(1, 1, 64, 64) * 2 - 1
    coarsest = network.encoder(luma)[-1]
    expected = classifier.network.blocks(
        classifier.network.bn1(classifier.network.conv_stem(luma.expand(-1, 3, -1, -1)))
    )
    torch.testing.assert_close(coarsest, expected)


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.0])
def test_the_encoder_learns_at_its_own_rate_and_keeps_its_running_statistics(
    scenes: Dataset, rate: float
) -> None:
    config = dataclasses.replace(CONFIG, encoder_rate=rate)
    training = Training(config, *load_banks(scenes, "animals", config), CPU)
    before = {name: value.clone() for name, value in training.generator.state_dict().items()}
    list(training.run())
    after = training.generator.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert ("encoder.0.weight" in changed) == (rate > 0)
    assert "write.weight" in changed
    assert not {name for name in changed if "running" in name and "encoder" in name}
    own, pretrained = training.steps.adam.param_groups
    assert pretrained["lr"] == rate * own["lr"]
    assert bool(pretrained["params"]) == (rate > 0)


def test_a_training_with_a_frozen_encoder_goes_on_as_if_it_had_never_stopped(
    scenes: Dataset,
) -> None:
    config = dataclasses.replace(CONFIG, encoder_rate=0.0)
    banks = load_banks(scenes, "animals", config)
    whole, stopped, resumed = (Training(config, *banks, CPU) for _ in range(3))
    list(whole.run())
    next(stopped.run())
    resumed.load(stopped.snapshot().files())
    list(resumed.run())
    assert resumed.history[-1].loss_l1 == pytest.approx(whole.history[-1].loss_l1, rel=1e-5)


def test_a_package_colours_as_the_network_did(scenes: Dataset) -> None:
    training = Training(CONFIG, *load_banks(scenes, "animals", CONFIG), CPU)
    list(training.run())
    network = training.generator
    trained = Trained(network, ("animals",), dataclasses.asdict(CONFIG), {}, 1.0, "cpu")
    publish(scenes.storage, "animals", scenes, trained)
    card = find(scenes.storage, "animals")
    assert card.kind == "encoder_unet"
    assert card.colors
    row = next(iter(scenes.rows(("animals",), "test")))
    photograph = decode(row.image).rgb
    loaded = Colorizer(load_generator(scenes.storage, card))
    (expected,), (colored,) = Colorizer(network)([photograph]), loaded([photograph])
    assert (expected == colored).all()


def test_noise_is_dropout() -> None:
    network = generator().eval()
    lightness = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(lightness), network(lightness))
        assert not torch.equal(network(lightness, noise=True), network(lightness, noise=True))


@pytest.mark.parametrize("size", [32, 100])
def test_a_size_that_cannot_be_halved_so_often_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="--size"):
        TrainingConfig(generator="encoder_unet", size=size)


def test_an_encoder_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="encoder resnet18: choose from vgg16"):
        TrainingConfig(lambda_perceptual=1.0, encoder="resnet18")
    with pytest.raises(ConfigError, match="encoder resnet18: choose from vgg16"):
        TrainingConfig(generator="encoder_unet", encoder="resnet18")


def test_attention_changes_nothing_at_first_and_then_lets_all_places_see_each_other() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(8, 4)
    maps, features = torch.randn(2, 8, 6, 4), torch.randn(2, 4, 6, 4)
    assert torch.equal(layer(maps, features), maps)
    with torch.no_grad():
        layer.gain.fill_(1.0)
    maps.requires_grad_()
    layer(maps, features)[0, :, 0, 0].square().sum().backward()
    assert maps.grad is not None
    assert maps.grad[0, :, 4:, 2:].any()  # the corner opposite
    assert not maps.grad[1].any()  # but not in another photograph


def test_attention_is_the_softmax_of_the_published_equation() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(8, 4)
    with torch.no_grad():
        layer.gain.fill_(0.5)
        maps, features = torch.randn(1, 8, 4, 4), torch.randn(1, 4, 4, 4)
        query, key = layer.compare(torch.cat([maps, features], 1)).chunk(2, 1)
        value = F.max_pool2d(layer.value(maps), 2).flatten(2)[0]
        scores = query.flatten(2)[0].T @ F.max_pool2d(key, 2).flatten(2)[0] / 64**0.5
        seen = (scores.softmax(dim=1) @ value.T).T.reshape(1, 64, 4, 4)
        torch.testing.assert_close(layer(maps, features), maps + 0.5 * layer.write(seen))


def test_a_network_with_attention_uses_it_and_one_of_before_has_none() -> None:
    config = EncoderUNetConfig(64, 4, "lab", "instance", EMBEDDED, attention=True)
    network = EncoderUNetGenerator(config)
    network(torch.randn(1, 1, 64, 64)).square().sum().backward()
    assert network.attention.gain.grad
    assert not hasattr(generator(), "attention")
