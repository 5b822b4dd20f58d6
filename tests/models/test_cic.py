import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan import cli
from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError, ConfigError
from colorgan.evaluation.contestants import default_models, find_contestants
from colorgan.images.lab import decode, encode
from colorgan.inference.colorizer import Colorizer
from colorgan.metrics import ab_l1
from colorgan.models.architectures import CicConfig
from colorgan.models.cic import CicNetwork, read_published
from colorgan.models.gamut import BINS, bins_in_gamut
from colorgan.names import CIC
from colorgan.packages.card import find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.training.config import TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.presets import PRESETS
from colorgan.training.prior import measured_prior
from colorgan.workers import ALONE
from serve.backend import find_cards

CPU = torch.device("cpu")
CONFIG = TrainingConfig(size=64, width=4, epochs=2, batch_size=4, learning_rate=3e-3, beta1=0.9)

# Table 4 of the paper: channels, strides and dilations of each block's convolutions.
BLOCKS = (
    ((64, 1, 1), (64, 2, 1)),
    ((128, 1, 1), (128, 2, 1)),
    ((256, 1, 1), (256, 1, 1), (256, 2, 1)),
    ((512, 1, 1), (512, 1, 1), (512, 1, 1)),
    ((512, 1, 2), (512, 1, 2), (512, 1, 2)),
    ((512, 1, 2), (512, 1, 2), (512, 1, 2)),
    ((512, 1, 1), (512, 1, 1), (512, 1, 1)),
)


class TheirNetwork(nn.Module):
    """The authors' network as they built it: its state dict is the file that they published."""

    def __init__(self, share: int = 1) -> None:
        """Build it with a share of its channels."""
        super().__init__()
        before = 1
        for number, block in enumerate(BLOCKS, 1):
            layers: list[nn.Module] = []
            for whole, stride, dilation in block:
                after = whole // share
                layers += [nn.Conv2d(before, after, 3, stride, dilation, dilation), nn.ReLU(True)]
                before = after
            self.add_module(f"model{number}", nn.Sequential(*layers, nn.BatchNorm2d(before)))
        after = 256 // share
        self.model8 = nn.Sequential(
            *(nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU(True)),
            *(nn.Conv2d(after, after, 3, 1, 1), nn.ReLU(True)),
            *(nn.Conv2d(after, after, 3, 1, 1), nn.ReLU(True)),
            nn.Conv2d(after, 313, 1),
        )
        self.model_out = nn.Conv2d(313, 2, 1, bias=False)

    def forward(self, lightness: Tensor) -> Tensor:
        """L from 0 to 100 -> a and b."""
        x = (lightness - 50) / 100
        for number in range(1, 9):
            x = self.get_submodule(f"model{number}")(x)
        ab = self.model_out(x.softmax(dim=1))
        return 110 * F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)


def published_network(share: int) -> TheirNetwork:
    """Theirs with random weights and the bins in an order of its own."""
    torch.manual_seed(0)
    network = TheirNetwork(share).eval()
    order = torch.randperm(BINS)
    with torch.no_grad():
        network.model_out.weight.copy_(bins_in_gamut()[order].T[:, :, None, None] / 110)
        network.model8[-1].weight.mul_(20)  # so that places differ
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.01, 0.1)
    return network


def train(dataset: Dataset, config: TrainingConfig = CONFIG) -> Training:
    return Training(config, *load_banks(dataset, CIC, config), CPU, model=CIC)


def test_its_architecture_is_the_published_one() -> None:
    config = PRESETS["best"].config(CIC, {})
    assert config.architecture(CIC) == CicConfig(256, 64)
    assert PRESETS["report"].config(CIC, {}).architecture(CIC) == CicConfig(256, 64)
    assert PRESETS["best"].config(CIC, {"width": 8, "size": 128}).width == 8
    ours = CicNetwork(CicConfig(256, 64))
    assert sum(each.numel() for each in ours.parameters() if each.requires_grad) == 32_235_385
    theirs = {name: each.shape for name, each in TheirNetwork().state_dict().items()}
    assert {n: each.shape for n, each in ours.state_dict().items() if n != "prior"} == theirs


def test_it_writes_a_and_b_of_the_pictures_size_from_a_quarter_of_it() -> None:
    network = CicNetwork(CicConfig(64, 2)).eval()
    lightness = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        assert network.logits(lightness).shape == (2, 313, 16, 16)
        color = network(lightness)
    assert color.shape == (2, 2, 64, 64)
    assert color.abs().max() <= 1
    numbers = torch.arange(64.0).expand(1, 2, 64, 64) / 110
    assert network.targets(numbers)[0, 0, 0, :3].tolist() == pytest.approx([2, 6, 10])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_colour_as_in_their_own_network(suffix: str, tmp_path: Path) -> None:
    theirs, path = published_network(16), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), path)
    else:
        save_file({name: each.contiguous() for name, each in theirs.state_dict().items()}, path)
    ours = read_published(CicConfig(64, 4), path)
    lightness = torch.rand(2, 1, 64, 64) * 100
    with torch.no_grad():
        expected = theirs(lightness)
        assert expected.std() > 1
        torch.testing.assert_close(ours(lightness / 50 - 1) * 110, expected, rtol=1e-4, atol=1e-3)


def test_weights_of_another_architecture_are_refused_in_a_sentence(
    tmp_path: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(TheirNetwork(32).state_dict(), path)
    command = ["models", "import", "cic", "--dataset", "scenes", "--weights", str(path)]
    command += ["--storage", scenes.storage.uri, "--size", "64", "--width"]
    assert cli.main([*command, "4"]) == 1
    error = capsys.readouterr().err
    assert f"error: {path} does not hold the weights of cic with the width 4: " in error
    assert error.count("\n") == 1
    path.unlink()
    assert cli.main([*command, "2"]) == 2
    assert f"there is no file {path}" in capsys.readouterr().err


def test_published_weights_become_a_package(
    tmp_path: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(published_network(32).state_dict(), path)
    command = ["models", "import", "cic", "--dataset", "scenes", "--weights", str(path)]
    command += ["--storage", scenes.storage.uri, "--size", "64", "--width", "2"]
    assert cli.main(command) == 0
    assert "is released: it is the first release of cic" in capsys.readouterr().out
    card = find(scenes.storage, CIC)
    assert (card.kind, card.classes, card.photographs) == ("cic", (), 0)
    assert card.objective == "published weights (Zhang et al. 2016), from weights.pth"
    assert cli.main(["models", "--storage", scenes.storage.uri]) == 0
    assert "64 px, width 2, lab" in capsys.readouterr().out
    # A training can start from it, and measures a prior of its own.
    config = dataclasses.replace(CONFIG, width=2, start_from=card.reference)
    training = train(scenes, config)
    training.start_from(load_generator(scenes.storage, card))
    next(training.run())
    assert training.generator.get_buffer("prior").max() > 2 / BINS


def test_the_prior_follows_from_the_photographs_alone(scenes: Dataset) -> None:
    network = CicNetwork(CicConfig(64, 2))
    photographs = load_banks(scenes, CIC, CONFIG)[0]
    prior = measured_prior(network, photographs, CONFIG, ALONE)
    assert prior.sum().item() == pytest.approx(1)
    other = dataclasses.replace(CONFIG, seed=5, batch_size=7)
    assert torch.equal(measured_prior(network, photographs, other, ALONE), prior)
    # By hand: a bin's share of the pixels, before it is smoothed.
    pixels = torch.cat([encode(rgb, "lab")[1] for rgb in photographs.in_order(8)]) * 110
    gray = (pixels.abs() < 5).all(dim=1).float().mean().item()
    place = network.bins.round().tolist().index([0, 0])
    assert 0.4 * gray < prior[place].item() < 1.2 * gray


def test_it_learns(scenes: Dataset) -> None:
    config = dataclasses.replace(CONFIG, size=32, width=8, epochs=6, decay_share=0.5)
    training = train(scenes, config)
    list(training.run())
    gray = []
    for rgb in load_banks(scenes, CIC, config)[1].in_order(8):
        lightness, color = encode(rgb, "lab")
        gray.append(ab_l1(decode(lightness, color * 0, "lab"), rgb.float() / 255))
    assert training.history[-1].loss_l1 < 0.65 * math.log(BINS)  # of an even distribution
    assert training.history[-1].val_l1 < 0.95 * torch.cat(gray).mean().item()


def test_it_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(scenes: Dataset) -> None:
    config = dataclasses.replace(CONFIG, epochs=2, width=2, average=0.9)
    whole = train(scenes, config)
    list(whole.run())
    first = train(scenes, config)
    next(first.run())
    second = train(scenes, config)
    second.load(first.snapshot().files())
    list(second.run())
    assert [r.loss_l1 for r in second.history] == [r.loss_l1 for r in whole.history]
    priors = [each.generator.get_buffer("prior") for each in (whole, second)]
    assert torch.equal(*priors) and priors[0].max() > 2 / BINS


def test_its_package_is_compared_served_and_colours_the_same(scenes: Dataset) -> None:
    torch.manual_seed(0)
    network = CicNetwork(CicConfig(64, 2)).eval()
    network.get_buffer("prior").copy_(torch.rand(BINS).softmax(dim=0))
    metrics = {"val_l1": 9.0, "val_psnr": 20.0}
    trained = Trained(network, scenes.manifest.classes, {}, metrics, 1.0, "cpu")
    publish(scenes.storage, CIC, scenes, trained)
    card = find(scenes.storage, CIC)
    assert (card.kind, card.colors) == ("cic", True)
    assert card.architecture == CicConfig(64, 2)
    loaded = load_generator(scenes.storage, card)
    assert isinstance(loaded, CicNetwork) and torch.equal(loaded.prior, network.prior)
    photograph = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (mine,), (theirs,) = Colorizer(network)([photograph]), Colorizer(loaded)([photograph])
    assert mine.shape == photograph.shape
    assert np.array_equal(mine, theirs)
    classes = scenes.manifest.classes
    assert default_models(scenes.storage, classes) == (CIC,)
    names = [each.name for each in find_contestants(scenes.storage, [CIC], classes)]
    assert names == ["gray", "original", CIC]
    assert [*find_cards(scenes.storage, ())] == [CIC]


def test_what_it_cannot_be_is_said(scenes: Dataset) -> None:
    with pytest.raises(ConfigError, match="--size 60 is not a multiple of 8"):
        CicConfig(60, 4)
    with pytest.raises(ColorganError, match="it cannot start from a network of another"):
        train(scenes).start_from(CicNetwork(CicConfig(64, 2)))
