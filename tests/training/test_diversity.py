"""Training a generator with noise channels."""

import dataclasses
from pathlib import Path

import pytest
import torch

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.inference.colorizer import Colorizer
from colorgan.packages.card import find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.objectives import indifference, nearest_distance
from tests.training.test_phases import bank

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    size=32,
    width=4,
    discriminator_width=4,
    epochs=2,
    batch_size=3,
    noise_channels=3,
    lambda_diversity=10.0,
    phases="regression+adversarial",
)


def training(config: TrainingConfig) -> Training:
    return Training(config, bank(9, 0, 36), bank(3, 1, 32), CPU, SpeedConfig(), "animals")


def weights(of: Training) -> dict[str, torch.Tensor]:
    return of.generator.state_dict()


def test_the_nearest_draw_alone_counts_and_learns() -> None:
    drawn = torch.tensor([[0.5, -1.0], [0.25, 1.0]])[:, :, None, None, None].requires_grad_()
    loss = nearest_distance(drawn, torch.zeros(2, 1, 1, 1))
    assert loss.item() == pytest.approx((0.25 + 1.0) / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert drawn.grad is not None
    assert drawn.grad[:, 0].flatten().tolist() == [0, 0.5]


def test_indifference_falls_as_colours_differ_more_for_their_noise() -> None:
    z = torch.zeros(1, 2), torch.tensor([[1.0, 3.0]])
    first = torch.zeros(1, 2, 4, 4)
    # |z_1 - z_2| is 2 on average; the ratio is at most 0.05.
    found = [indifference(first, first + by, z).item() for by in (0.02, 0.06, 0.5)]
    assert found == pytest.approx([-0.01, -0.03, -0.05])


@pytest.mark.parametrize("diversity", ["nearest", "seeking"])
def test_noise_learns_and_changes_colours(diversity: str) -> None:
    made = training(dataclasses.replace(CONFIG, diversity=diversity))
    records = [*made.run()]
    assert len(records) == 2
    colorizer = Colorizer(made.generator)
    (colors,) = colorizer.generate_variants(
        torch.from_numpy(bank(1, 1, 32).pixels).permute(0, 3, 1, 2), [(1, 2, 3)]
    )
    assert (colors[0] - colors[1]).abs().mean() > 1e-4
    assert (colors[1] - colors[2]).abs().mean() > 1e-4


def test_a_training_with_noise_continues_as_if_never_stopped() -> None:
    class Stop(Exception):  # noqa: N818
        pass

    whole, stopped, going_on = (training(CONFIG) for _ in range(3))
    assert len([*whole.run()]) == 2

    files: dict[str, bytes] = {}

    def observe(fraction: float) -> None:
        if stopped.position == (1, 2):  # in the epoch in which noise is drawn
            files.update(stopped.snapshot().files())
            raise Stop

    with pytest.raises(Stop):
        [*stopped.run(observe)]
    going_on.load(files)
    assert len([*going_on.run()]) == 1
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(going_on)[name], tensor), name


def test_without_noise_channels_no_random_number_is_drawn_for_them() -> None:
    plain, noisy = (
        dataclasses.replace(CONFIG, noise_channels=n, lambda_diversity=0.0) for n in (0, 3)
    )
    regression = [dataclasses.replace(each, phases="regression") for each in (plain, noisy)]
    one, other = map(training, regression)
    for each in (one, other):
        assert len([*each.run()]) == 2
    for name, tensor in weights(one).items():
        assert torch.equal(weights(other)[name], tensor), name


def test_noise_alone_learns_and_the_colours_of_the_base_stay_to_the_bit(
    scenes: Dataset, embedded: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    command = ["train", "--storage", scenes.storage.uri, "--dataset", "scenes", "--model"]
    options = "--start-from embedded --size 64 --width 8 --epochs 1 --batch-size 8 --noise-only "
    options += "--noise-channels 4 --lambda-diversity 50 --learning-rate 0.01 --average 0.5 "
    options += "--discriminator-width 4 --phases critic:0.2+adversarial"
    assert main([*command, "general", *options.split()]) == 0
    ours, base = find(scenes.storage, "general"), find(embedded, "general")
    assert ours.training["noise_only"] and "diversity (nearest) (weight 50)" in ours.objective
    networks = [load_generator(*pair) for pair in ((scenes.storage, ours), (embedded, base))]
    learned, state = (each.state_dict() for each in networks)
    assert all(torch.equal(learned[name], tensor) for name, tensor in state.items())
    colorizers = [Colorizer(each) for each in networks]
    photographs = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    plain, expected = (each.generate(photographs) for each in colorizers)
    assert torch.equal(plain, expected)
    variants = colorizers[0].generate_variants(photographs, [(1, 2), (1, 2)])
    assert (variants[0][1] - variants[0][0]).abs().mean() > 1e-4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"noise_channels": 0}, "--lambda-diversity needs --noise-channels"),
        ({"noise_only": True}, "--noise-only needs --start-from"),
        (
            {"noise_only": True, "start_from": "general"},
            "--noise-only learns against the adversary",
        ),
    ],
)
def test_options_of_noise_that_do_not_fit_are_refused(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        CONFIG.replaced(changes)
