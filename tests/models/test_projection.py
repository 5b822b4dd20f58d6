"""The projection discriminator, and spectral normalisation of all discriminators."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from colorgan.models.patchgan import PatchDiscriminator
from colorgan.models.pictures import Colored
from colorgan.models.projection import ProjectionDiscriminator
from colorgan.training.loop import Training
from colorgan.training.objectives import CROSS_ENTROPY
from tests.training import test_phases
from tests.training.test_training import SMALL, banks

CPU = torch.device("cpu")


def pictures(count: int, labels: list[int], side: int = 32) -> Colored:
    generator = torch.Generator().manual_seed(0)
    lightness, color = (
        torch.rand(count, channels, side, side, generator=generator) * 2 - 1 for channels in (1, 2)
    )
    return Colored(lightness, color, labels=torch.tensor(labels))


def test_a_logit_is_that_of_the_patch_and_the_product_of_its_mean_and_the_class() -> None:
    torch.manual_seed(0)
    critic = ProjectionDiscriminator(2, classes=3, width=4)
    picture = pictures(2, [2, 0], side=64)
    (logits,) = critic(picture)
    maps = critic.maps(picture)
    assert logits.shape == (2, 1, 6, 6) and maps.shape == (2, 32, 7, 7)
    layer, embedding = critic.convolutions[-1], critic.embedding.weight
    for photograph, label in enumerate((2, 0)):
        window = maps[photograph, :, 1:5, 2:6]
        psi = (window * layer.weight[0]).sum() + layer.bias[0]
        expected = psi + embedding[label] @ window.mean(dim=(1, 2))
        torch.testing.assert_close(logits[photograph, 0, 2, 3], expected)


def test_without_its_classes_vectors_it_is_the_patchgan_of_the_same_seed() -> None:
    torch.manual_seed(0)
    critic = ProjectionDiscriminator(2, classes=3, width=4)
    torch.manual_seed(0)
    patches = PatchDiscriminator(2, width=4)
    nn.init.zeros_(critic.embedding.weight)
    picture = pictures(2, [2, 0])
    torch.testing.assert_close(critic(picture), patches(picture))


def test_it_learns_colors_that_only_their_class_makes_wrong() -> None:
    """Reds and blues of both classes are real or not by the class alone."""
    torch.manual_seed(0)
    color = torch.tensor([[0.5, 0.3], [-0.1, -0.5]] * 2)[:, :, None, None].expand(4, 2, 32, 32)
    lightness = torch.zeros(4, 1, 32, 32)
    right, wrong = (
        Colored(lightness, color, labels=torch.tensor(each * 2)) for each in ([0, 1], [1, 0])
    )

    def loss_after_learning(critic: nn.Module) -> float:
        adam = torch.optim.Adam(critic.parameters(), lr=5e-3)
        for _ in range(60):
            loss = CROSS_ENTROPY.judge(critic(right), critic(wrong))
            adam.zero_grad()
            loss.backward()
            adam.step()
        return float(loss.detach())

    blind = loss_after_learning(PatchDiscriminator(2, width=4, spectral=True))
    seeing = loss_after_learning(ProjectionDiscriminator(2, 2, width=4, spectral=True))
    assert blind >= 0.693  # log 2: a coin
    assert seeing < 0.5


def follow(network: nn.Module) -> None:
    """Repeat the power iteration, of which a pass has one, until it has followed the last step."""
    with torch.no_grad():
        for _ in range(500):
            for layer in network.train().modules():
                if is_parametrized(layer, "weight"):
                    _ = layer.weight


def matrices(network: nn.Module) -> dict[str, Tensor]:
    """The weights of all layers, each as a matrix with a row per output channel."""
    kinds = nn.Conv2d | nn.Embedding | nn.Linear | nn.ConvTranspose2d
    return {
        name: layer.weight.detach().flatten(1)
        for name, layer in network.named_modules()
        if isinstance(layer, kinds)
    }


@pytest.mark.parametrize(
    ("discriminators", "layers"), [("patches", 5), ("projection", 6), ("semantic+features", 22)]
)
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_after_a_training_no_layers_spectral_norm_is_above_1(
    discriminators: str, layers: int, norm: str
) -> None:
    large = {"size": 64, "generator": "encoder_unet", "encoder_rate": 0.0}
    options = large if "semantic" in discriminators else {}
    config = dataclasses.replace(
        SMALL,
        discriminators=discriminators,
        spectral_norm=True,
        norm=norm,
        batch_size=2,
        **options,  # type: ignore[arg-type]
    )
    train, val = (test_phases.bank(8, 0), test_phases.bank(3, 1)) if options else banks(groups=True)
    training = Training(config, train, val, CPU)
    assert training.discriminators is not None
    before = {name: each.clone() for name, each in matrices(training.discriminators).items()}
    list(training.run())
    follow(training.discriminators)
    after = matrices(training.discriminators.eval())
    assert len(after) == layers
    for name, matrix in after.items():
        assert not torch.equal(matrix, before[name]), name  # it has learned
        assert 0.99 < float(torch.linalg.svdvals(matrix)[0]) <= 1.01, name
    kinds = nn.BatchNorm2d | nn.InstanceNorm2d  # whose layers have no bound
    assert not any(isinstance(each, kinds) for each in training.discriminators.modules())


def test_without_the_option_the_names_of_the_weights_are_those_of_before() -> None:
    names = set(PatchDiscriminator(2, width=4).state_dict())
    assert names == {
        *(f"convolutions.{layer}.weight" for layer in range(5)),
        *(f"convolutions.{layer}.bias" for layer in (0, 4)),
        *(f"norms.{layer}.{kind}" for layer in (1, 2, 3) for kind in ("weight", "bias")),
    }
    assert set(ProjectionDiscriminator(2, 3, width=4).state_dict()) == {*names, "embedding.weight"}
