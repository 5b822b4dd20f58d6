"""Each discriminator: what it sees, and where its gradient goes."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch

from colorgan.models.backbones import Features
from colorgan.models.classifiers import load_classifier
from colorgan.models.pictures import Colored
from colorgan.models.semantic import SemanticDiscriminator
from colorgan.training.config import TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.networks import create_discriminators, create_generator
from colorgan.training.objectives import FrozenClassifiers
from colorgan.training.phases import Moment
from tests.training.test_phases import SMALL, bank

CPU = torch.device("cpu")
CONFIG = dataclasses.replace(SMALL, phases="adversarial", lambda_l1=0.0, epochs=1)
every_discriminator = pytest.mark.parametrize("name", ["patches", "features", "semantic"])


def step(config: TrainingConfig) -> Training:
    """A training after one adversarial step."""
    training = Training(config, bank(4, 0), bank(3, 1), CPU)
    training.learner.train()
    sample = training.sampler.of_photographs(next(bank(3, 1).in_order(3)))
    training.steps.take(Moment("adversarial", 1.0), sample)
    return training


@every_discriminator
def test_its_gradient_reaches_the_generator_and_nothing_frozen(name: str) -> None:
    training = step(dataclasses.replace(CONFIG, discriminators=name))
    for key, parameter in training.learner.named_parameters():
        frozen = key.startswith("encoder.")
        assert parameter.requires_grad != frozen
        assert (parameter.grad is None) == frozen, key
    assert training.learner.write.weight.grad.any()
    for classifier in training.steps.classifiers.networks:
        assert all(parameter.grad is None for parameter in classifier.parameters())


@every_discriminator
def test_its_own_loss_reaches_no_generator(name: str) -> None:
    config = dataclasses.replace(CONFIG, discriminators=name, encoder_rate=1.0)
    training = Training(config, bank(4, 0), bank(3, 1), CPU)
    sample = training.sampler.of_photographs(next(bank(3, 1).in_order(3)))
    assert sample.gray[0].requires_grad  # this encoder learns
    training.steps.take(Moment("critic", 1.0), sample)
    assert training.discriminators is not None
    assert all(p.grad is not None for p in training.discriminators.parameters())
    assert all(parameter.grad is None for parameter in training.learner.parameters())


def test_the_semantic_ones_view_of_the_gray_picture_teaches_the_encoder_nothing() -> None:
    config = dataclasses.replace(CONFIG, discriminators="semantic", encoder_rate=1.0)
    training = Training(config, bank(4, 0), bank(3, 1), CPU)
    sample = training.sampler.of_photographs(next(bank(3, 1).in_order(3)))
    assert not any(each.requires_grad for each in sample.features)
    fake = sample.color.clone().requires_grad_()
    _, picture = training.steps.pictures(sample, fake, seen=False)
    training.steps.deceive(picture).backward()
    assert fake.grad is not None and fake.grad.any()
    assert all(p.grad is None for p in training.learner.encoder.parameters())


def test_weights_multiply_each_ones_part() -> None:
    torch.manual_seed(0)
    training = Training(CONFIG, bank(4, 0), bank(3, 1), CPU)
    steps = training.steps
    assert training.discriminators is not None
    training.discriminators.eval()  # spectral normalisation stays as it is
    sample = training.sampler.of_photographs(next(bank(3, 1).in_order(3)))
    _, picture = steps.pictures(sample, sample.color, seen=True)

    @torch.no_grad()
    def loss(discriminators: str) -> float:
        steps.config = dataclasses.replace(CONFIG, discriminators=discriminators)
        return float(steps.deceive(picture))

    both = loss("semantic:2+features:3")
    assert both == pytest.approx(2 * loss("semantic") + 3 * loss("features"), rel=1e-5)


@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "efficientnet_lite1", "vgg16"])
def test_the_semantic_one_judges_beside_the_encoders_features_at_each_level(encoder: str) -> None:
    features = Features(encoder)
    discriminator = SemanticDiscriminator(2, features.channels[2:], width=4)
    gray = features(torch.zeros(2, 1, 64, 64))[1:]
    side = gray[0].shape[-1]
    color = torch.rand(2, 2, side, side)
    logits = discriminator(Colored(torch.zeros(2, 1, 32, 32), color, gray))
    assert [each.shape[1:] for each in logits] == [(1, *each.shape[2:]) for each in gray[1:]]
    other = [torch.randn_like(each) for each in gray]
    changed = discriminator(Colored(torch.zeros(2, 1, 32, 32), color, other))
    assert not any(map(torch.equal, logits, changed))


def test_the_one_on_features_has_a_head_at_strides_4_8_and_16_of_each_classifier() -> None:
    config = dataclasses.replace(
        CONFIG,
        discriminators="features",
        perceptual="efficientnet_lite0+efficientnet_lite1",
    )
    assert config.perceptual_names == ("efficientnet_lite0", "efficientnet_lite1")
    classifiers = [Features(name) for name in config.perceptual_names]
    generator = create_generator(config, "animals")
    critic = create_discriminators(config, generator, classifiers)["features"]
    seen = [each(torch.rand(2, 3, 64, 64)) for each in classifiers]
    gray = FrozenClassifiers(classifiers, nullcontext).judged(torch.zeros(2, 1, 64, 64))
    logits = critic(Colored(torch.zeros(2, 1, 64, 64), torch.zeros(2, 2, 16, 16), (), seen, gray))
    assert [each.shape for each in logits] == [(2, 1, s, s) for s in (16, 8, 4)] * 2


def test_two_classifiers_are_the_perceptual_term_together() -> None:
    config = dataclasses.replace(
        CONFIG,
        phases="perceptual",
        lambda_perceptual=1.0,
        perceptual="efficientnet_lite0+efficientnet_lite1",
    )
    training = Training(config, bank(4, 0), bank(3, 1), CPU)
    first, second = training.steps.classifiers.networks
    expected = load_classifier("efficientnet_lite1").network.get_submodule("conv_stem").weight
    assert torch.equal(second[0].weight, expected)
    assert not torch.equal(first[0].weight, second[0].weight)
