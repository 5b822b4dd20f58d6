import dataclasses
import threading

import numpy as np
import pytest
import torch

from colorgan.data.batches import JITTER, PhotoBank
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Corrupt, TrainingDiverged
from colorgan.models import EMBEDDED, classifiers
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.system import choose_device
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.objectives import incoherence
from colorgan.training.presets import find_preset
from colorgan.training.records import EpochRecord
from colorgan.training.states import TENSORS

CPU = torch.device("cpu")
SMALL = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=4)
SCHEDULED = dataclasses.replace(SMALL, phases="regression+adversarial", average=0.9)


def banks(size: int = 32, groups: bool = False) -> tuple[PhotoBank, PhotoBank]:
    """Random pictures, and maybe their classes."""
    classes = [(name, 0) for name in ("animals", "people", "vehicles")]
    rng = np.random.default_rng(0)
    side = round(size * JITTER)
    train = rng.integers(0, 256, (7, side, side, 3), dtype=np.uint8)
    val = PhotoBank(rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8))
    return PhotoBank(train, [classes[at % 3] for at in range(7)] if groups else ()), val


def train(config: TrainingConfig = SMALL, speed: SpeedConfig | None = None) -> Training:
    return Training(config, *banks(), CPU, speed)


def losses(records: list[EpochRecord]) -> list[tuple[float, ...]]:
    return [(r.epoch, r.loss_d, r.loss_gan, r.loss_l1, r.val_l1, r.val_psnr) for r in records]


def test_losses_fall_on_photographs_that_can_be_learned(scenes: Dataset) -> None:
    config = dataclasses.replace(SMALL, width=8, epochs=12, batch_size=2)
    training = Training(config, *load_banks(scenes, "animals", config), CPU)
    before = training.validate().l1
    records = list(training.run())
    assert records[-1].loss_l1 < 0.75 * records[0].loss_l1
    assert records[-1].val_l1 < 0.8 * before


@pytest.mark.parametrize("color_space", ["lab", "rgb"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_seed_gives_one_training_and_another_seed_another(color_space: str, norm: str) -> None:
    config = dataclasses.replace(SMALL, color_space=color_space, norm=norm, epochs=2)
    first, second = losses(list(train(config).run())), losses(list(train(config).run()))
    assert first == second
    assert first != losses(list(train(dataclasses.replace(config, seed=1)).run()))


@pytest.mark.parametrize(
    ("config", "channels_last", "stop"),
    [
        (SMALL, "off", 2),
        (SMALL, "on", 2),
        # In the middle of the warm-up, at its end, and after it.
        *((SCHEDULED, "off", stop) for stop in (1, 2, 3)),
    ],
)
def test_a_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    config: TrainingConfig, channels_last: str, stop: int
) -> None:
    speed = SpeedConfig(channels_last=channels_last)  # type: ignore[arg-type]
    whole = list(train(config, speed).run())
    stopped = train(config, speed)
    for record in stopped.run():
        if record.epoch == stop:
            snapshot = stopped.snapshot()
        if record.epoch == stop + 1:  # what a snapshot holds does not change any more
            break
    resumed = train(config, speed)
    resumed.load(snapshot.files())
    list(resumed.run())
    assert [record.epoch for record in resumed.history] == [1, 2, 3, 4]
    np.testing.assert_allclose(losses(resumed.history), losses(whole), rtol=1e-5)


def test_the_perceptual_term_alone_teaches_what_the_classifier_sees(scenes: Dataset) -> None:
    config = dataclasses.replace(
        SMALL,
        size=64,
        width=8,
        epochs=8,
        learning_rate=1e-3,
        phases="perceptual",
        lambda_l1=0.0,
        lambda_perceptual=10.0,
    )
    photographs, val = load_banks(scenes, "animals", config)
    training = Training(config, photographs, val, CPU)
    steps = training.steps
    (classifier,) = steps.classifiers.networks
    frozen = {name: value.clone() for name, value in classifier.state_dict().items()}
    sample = training.sampler.of_photographs(next(val.in_order(3)))

    @torch.no_grad()
    def distance(color: torch.Tensor) -> float:
        l1 = torch.nn.functional.l1_loss(color, sample.color)
        seen, wanted = (steps.see_colors(sample, each) for each in (color, sample.color))
        return float(steps.content(l1, seen, wanted))

    before = distance(training.generator.eval()(sample.gray))
    list(training.run())
    assert distance(training.generator.eval()(sample.gray)) < 0.9 * before
    assert distance(sample.color) == 0
    torch.testing.assert_close(classifier.state_dict(), frozen)


def test_the_adversary_waits_for_the_regression_to_end() -> None:
    training = train(SCHEDULED)
    before = [parameter.clone() for parameter in training.discriminators.parameters()]
    for record in training.run():
        waits = record.epoch <= 2
        assert (record.loss_d == record.loss_gan == 0) == waits
        untouched = all(map(torch.equal, before, training.discriminators.parameters()))
        assert untouched == waits


def test_the_coherence_term_keeps_colours_from_differing_where_the_photographs_do_not() -> None:
    rng = np.random.default_rng(0)
    gray = [
        PhotoBank(rng.integers(0, 256, (n, 32, 32, 1)).repeat(3, 3).astype("u1")) for n in (8, 2)
    ]
    config = dataclasses.replace(SMALL, lambda_l1=0.0, learning_rate=2e-3, epochs=4)
    found = []
    for weight in (0.0, 10000.0):
        training = Training(dataclasses.replace(config, lambda_coherence=weight), *gray, CPU)
        list(training.run())
        with torch.no_grad():
            color = training.generator.eval()(torch.rand(4, 1, 32, 32) * 2 - 1)
        found.append(incoherence(color, torch.zeros_like(color)).item())
    assert found[1] < 0.5 * found[0]


def test_the_average_is_of_all_steps_weights_and_is_what_is_kept() -> None:
    config = dataclasses.replace(SCHEDULED, epochs=2)
    training = train(config)
    name = "down.0.weight"
    expected = training.learner.state_dict()[name].clone()
    seen = []
    step = training.steps.adam.step

    def look() -> None:
        step()
        seen.append(training.learner.state_dict()[name].clone())

    training.steps.adam.step = look  # type: ignore[method-assign, assignment]
    list(training.run())
    for number, weights in enumerate(seen, 1):
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(training.generator.state_dict()[name], expected)
    assert not torch.equal(expected, seen[-1])
    assert not any(parameter.requires_grad for parameter in training.generator.parameters())


def test_prefetched_batches_train_to_the_same_weights_and_a_stop_leaves_no_thread() -> None:
    plain, prefetching = train(), train(speed=SpeedConfig(prefetch="on"))
    assert losses(list(plain.run())) == losses(list(prefetching.run()))
    learned = plain.generator.state_dict()
    for name, weights in prefetching.generator.state_dict().items():
        assert torch.equal(weights, learned[name])

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        next(train(speed=SpeedConfig(prefetch="on")).run(stop))
    assert threading.active_count() == before


def test_what_no_epoch_uses_is_not_built_and_changes_no_weight() -> None:
    alone = dataclasses.replace(SMALL, phases="regression")
    without, with_one = train(alone), train()
    assert without.discriminators is None and without.steps.discriminators is None
    assert all(map(torch.equal, without.generator.parameters(), with_one.generator.parameters()))
    list(without.run())
    names = without.snapshot().tensors
    assert names and not any(name.startswith("discriminator") for name in names)


def test_a_checkpoint_of_before_with_a_discriminator_that_was_not_used_is_gone_on_with() -> None:
    config = dataclasses.replace(SMALL, phases="regression")
    whole = train(config)
    for record in whole.run():
        if record.epoch == 2:
            snapshot = whole.snapshot()
    unused = PatchDiscriminator(2, 4, "instance").state_dict()
    tensors = {f"discriminator.{name}": tensor for name, tensor in unused.items()}
    earlier = dataclasses.replace(snapshot, tensors=snapshot.tensors | tensors)
    resumed = train(config)
    resumed.load(earlier.files())
    list(resumed.run())
    learned = whole.generator.state_dict()
    for name, weights in resumed.generator.state_dict().items():
        assert torch.equal(weights, learned[name])


def test_the_classifier_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = classifiers.load_classifier

    def count(name: str) -> classifiers.Classifier:
        loaded.append(name)
        return load(name)

    monkeypatch.setattr("colorgan.training.networks.load_classifier", count)
    config = find_preset("best").config("animals", {"size": 64, "width": 4, "epochs": 1})
    training = Training(config, *banks(64), CPU)
    assert loaded == [EMBEDDED]
    # What is loaded into the encoder is not what the perceptual term sees with.
    assert training.steps.classifiers.networks[0] is not training.learner.encoder


def test_an_epoch_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(train(dataclasses.replace(SMALL, epochs=1)).run())
    assert torch.equal(torch.rand(3), expected)


def test_bfloat16_trains_to_nearly_the_same_losses() -> None:
    config = dataclasses.replace(SMALL, epochs=1)
    exact = next(train(config, SpeedConfig(precision="float32")).run())
    rough = next(train(config, SpeedConfig(precision="bfloat16")).run())
    assert rough.loss_l1 == pytest.approx(exact.loss_l1, rel=0.05)
    assert rough.loss_l1 != exact.loss_l1


def test_the_generators_step_leaves_no_gradient_in_the_discriminator() -> None:
    training = train()
    seen: list[bool] = []
    step = training.steps.adam.step
    discriminator = training.discriminators

    def spy() -> None:
        # What the discriminator's own step left is there; the generator's must add nothing.
        seen.extend(parameter.requires_grad for parameter in discriminator.parameters())
        step()

    training.steps.adam.step = spy  # type: ignore[method-assign, assignment]
    next(training.run())
    assert seen and not any(seen)
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_a_loss_that_is_not_finite_ends_the_training_with_a_sentence() -> None:
    training = train()
    with torch.no_grad():
        next(iter(training.generator.parameters())).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="not finite in epoch 1"):
        list(training.run())


def test_a_checkpoint_of_other_options_or_cut_short_is_refused() -> None:
    training = train()
    next(training.run())
    files = training.snapshot().files()
    with pytest.raises(ConfigError, match="other options"):
        train(dataclasses.replace(SMALL, learning_rate=1e-3)).load(files)
    with pytest.raises(Corrupt, match="cannot be read"):
        train().load({**files, TENSORS: files[TENSORS][:-100]})


def test_progress_within_an_epoch_ends_at_one() -> None:
    fractions: list[float] = []
    next(train().run(fractions.append))
    assert fractions == [0.5, 1.0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("lambda_perceptual", -1.0), ("lambda_coherence", -1.0)),
        *(("size", 100), ("width", 0), ("epochs", 0), ("batch_size", 0), ("lambda_l1", -1.0)),
        *(("adversarial_rate", 1.5), ("average", 1.0), ("decay_share", -0.1)),
        *(("discriminator_rate", 0.0), ("chroma", 0.9), ("lambda_adversary", -1.0)),
        *(("learning_rate", 0.0), ("beta1", 1.0), ("seed", -1), ("discriminator_width", 0)),
    ],
)
def test_a_hyper_parameter_that_cannot_be_used_is_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{field.replace('_', '-')}"):
        TrainingConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no GPU"):
        choose_device("gpu")


def test_a_training_draws_by_the_balance_that_its_configuration_names(scenes: Dataset) -> None:
    config = dataclasses.replace(SMALL, balance="classes", photographs=20)
    bank, val = load_banks(scenes, "general", config)
    assert bank.weights is not None
    assert val.weights is None
    assert load_banks(scenes, "general", SMALL)[0].weights is None
    with pytest.raises(ConfigError, match="--balance all: choose from none, classes, sources"):
        dataclasses.replace(SMALL, balance="all")
