import dataclasses

import numpy as np
import pytest
import torch

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.inference.colorizer import Colorizer
from colorgan.packages.card import find
from colorgan.packages.weights import load_generator
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.model_run import train_model
from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelRun
from colorgan.training.vividness import MOST, Colorings, as_published, best_factor, enlivened

CPU = torch.device("cpu")
# By L1 alone, after which colours are right but pale.
PALE = TrainingConfig(size=32, width=8, phases="regression", epochs=12, learning_rate=2e-3, seed=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, PhotoBank]:
    from colorgan.storage import open_storage
    from tests.conftest import stage_scenes

    dataset = stage_scenes(open_storage(str(tmp_path_factory.mktemp("storage"))))
    train, val = load_banks(dataset, "animals", PALE)
    training = Training(PALE, train, val, CPU)
    for _ in training.run():
        pass
    return training, val


def test_the_factor_brings_the_colourfulness_that_is_wanted(
    trained: tuple[Training, PhotoBank],
) -> None:
    training, val = trained
    colorings = Colorings(training.generator, val)
    l1, ratio = colorings.measure(1.0)
    assert 0 < ratio < 0.95
    wanted = (ratio + colorings.measure(1.1)[1]) / 2
    factor = best_factor(colorings, wanted)
    assert 1 < factor < 1.1
    assert colorings.measure(factor)[1] == pytest.approx(wanted, rel=0.01)
    assert best_factor(colorings, ratio / 2) == 1
    assert best_factor(colorings, 100.0) > factor
    assert colorings.measure(best_factor(colorings, 100.0))[0] <= 1.0501 * l1


def test_the_factor_ends_where_the_error_grows_or_at_the_most() -> None:
    class Measured(Colorings):
        def __init__(self, slope: float) -> None:
            self.slope = slope

        def measure(self, factor: float) -> tuple[float, float]:
            return 10 + self.slope * (factor - 1), 0.3 * factor

    assert best_factor(Measured(0.0), 0.9) == MOST
    assert best_factor(Measured(2.0), 0.9) == pytest.approx(1.25, abs=0.002)
    assert best_factor(Measured(2.0), 0.33) == pytest.approx(1.1, abs=0.002)


def test_a_copy_is_vivid_and_its_record_says_so(trained: tuple[Training, PhotoBank]) -> None:
    training, val = trained
    record = training.history[-1]
    vivid, said, factor = enlivened(training.generator, record, val, 1.0)
    assert factor > 1
    rgb = next(val.in_order(3))
    before, after = (Colorizer(each).generate(rgb) for each in (training.generator, vivid))
    torch.testing.assert_close(after, torch.tanh(before.atanh() * factor), rtol=0.02, atol=0.004)
    assert said.epoch == record.epoch
    assert said.val_colorfulness is not None and record.val_colorfulness is not None
    assert said.val_colorfulness > record.val_colorfulness
    assert said.val_l1 != record.val_l1


@pytest.mark.parametrize(
    ("model", "colorfulness", "vivid"),
    [("animals", 0.0, False), ("hypercolumn", 1.0, False), ("animals", 1.0, True)],
)
def test_a_run_and_a_sweep_publish_what_the_configuration_wants(
    trained: tuple[Training, PhotoBank], model: str, colorfulness: float, vivid: bool
) -> None:
    training, val = trained
    loaded = []

    def load() -> PhotoBank:
        loaded.append(val)
        return val

    config = dataclasses.replace(PALE, colorfulness=colorfulness)
    record = training.history[-1]
    generator, metrics = as_published(training.generator, record, model, config, load)
    assert bool(loaded) == vivid == ("vividness" in metrics)
    assert (generator is training.generator) != vivid
    assert (metrics["val_l1"] == record.val_l1) != vivid
    assert None not in metrics.values()


def test_what_is_published_is_vivid(scenes: Dataset) -> None:
    packages = {}
    for run, colorfulness in (("as_learned", 0.0), ("vivid", 1.0)):
        config = dataclasses.replace(PALE, colorfulness=colorfulness)
        spec = ModelRun(
            *(scenes.storage.uri, "scenes", run, "animals", config, SpeedConfig()),
            checkpoint_every=1000,
        )
        result = train_model(spec, CPU)
        assert result.status == "done" and result.package
        card = find(scenes.storage, result.package)
        assert result.val_l1 == card.metrics["val_l1"]
        packages[run] = card, load_generator(scenes.storage, card)
    cards = {run: card.metrics for run, (card, _) in packages.items()}
    assert "vividness" not in cards["as_learned"]
    factor = cards["vivid"]["vividness"]
    assert factor > 1
    assert cards["vivid"]["val_colorfulness"] > cards["as_learned"]["val_colorfulness"]
    last = [generator.state_dict()["up.4.weight"] for _, generator in packages.values()]
    np.testing.assert_allclose(last[1], last[0] * factor, rtol=1e-5)


def test_the_colours_of_rgb_cannot_be_enlivened() -> None:
    with pytest.raises(ConfigError, match="--colorfulness need --color-space lab"):
        TrainingConfig(color_space="rgb", colorfulness=0.8)


def test_a_record_of_a_training_is_not_changed(trained: tuple[Training, PhotoBank]) -> None:
    training, val = trained
    before: EpochRecord = training.history[-1]
    enlivened(training.generator, before, val, 1.0)
    assert training.history[-1] == before
