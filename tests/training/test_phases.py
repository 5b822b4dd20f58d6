"""The phases of a training: how they are read, which step is in which, and what they do."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from colorgan.data.batches import JITTER, PhotoBank
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.names import HYPERCOLUMN
from colorgan.training.config import TrainingConfig, stored_config
from colorgan.training.loop import Training, load_banks
from colorgan.training.phases import Phase, Schedule, parse_phases
from colorgan.training.records import EpochRecord
from colorgan.training.states import STATE

CPU = torch.device("cpu")
SMALL = TrainingConfig(
    generator="encoder_unet",
    encoder_rate=0.0,
    norm="batch",
    size=64,
    width=4,
    discriminator_width=4,
    epochs=4,
    batch_size=4,
    average=0.9,
    phases="regression:3+critic:2+adversarial:3",
    discriminators="semantic+features:0.5",
    chroma=1.2,
    interpolation=0.7,
)


def bank(count: int, seed: int, side: int = 64, groups: bool = False) -> PhotoBank:
    """Smooth random pictures, maybe of known classes: noise would leave nothing to learn."""
    coarse = torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (count, 3, 4, 4))).float()
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    classes = [(("animals", "people", "vehicles")[at % 3], 0) for at in range(count)]
    pixels = fine.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
    return PhotoBank(pixels, classes if groups else ())


def train(config: TrainingConfig = SMALL, val: int = 3) -> Training:
    return Training(config, bank(8, 0), bank(val, 1), CPU)


def losses(records: list[EpochRecord]) -> list[tuple[float | None, ...]]:
    return [(r.loss_d, r.loss_gan, r.loss_l1, r.val_l1, r.val_colorfulness) for r in records]


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        ("adversarial", (Phase("adversarial", 1.0),)),
        ("regression", (Phase("regression", 1.0),)),
        (
            "regression:12+critic:2+adversarial:6",
            (Phase("regression", 0.6), Phase("critic", 0.1), Phase("adversarial", 0.3)),
        ),
        ("regression+adversarial:3", (Phase("regression", 0.25), Phase("adversarial", 0.75))),
    ],
)
def test_phases_are_read_with_shares_that_add_up_to_1(text: str, phases: tuple[Phase, ...]) -> None:
    assert parse_phases(text) == phases
    assert TrainingConfig(phases=text).phase_list == phases


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        (
            "phases",
            "",
            "--phases '': '' is unknown; choose from regression, perceptual, critic, adversarial",
        ),
        (
            "phases",
            "gan",
            "'gan' is unknown; choose from regression, perceptual, critic, adversarial",
        ),
        ("phases", "regression:0+critic", "the number of regression must be more than 0"),
        ("phases", "regression:x", "the number of regression must be more than 0"),
        ("phases", "regression:inf", "the number of regression must be more than 0"),
        (
            "discriminators",
            "pixels",
            "'pixels' is unknown; choose from patches, features, semantic",
        ),
        ("discriminators", "patches+patches:2", "names one twice"),
        ("discriminators", "semantic", "needs --generator encoder_unet"),
        ("perceptual", "resnet18", "'resnet18' is unknown; choose from vgg16, efficientnet_lite0"),
    ],
)
def test_what_cannot_be_read_is_named(field: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**{field: text})  # type: ignore[arg-type]


def test_more_chroma_is_for_lab_alone() -> None:
    with pytest.raises(ConfigError, match="--chroma and --colorfulness need --color-space lab"):
        TrainingConfig(chroma=1.2, color_space="rgb")


def test_steps_are_divided_in_the_phases_proportions_and_each_rate_falls() -> None:
    phases = parse_phases("regression:12+critic:1+adversarial:6")
    schedule = Schedule(phases, 38, decay_share=0.5)
    moments = [schedule.at(step) for step in range(38)]
    objectives = [moment.objective for moment in moments]
    assert objectives == ["regression"] * 24 + ["critic"] * 2 + ["adversarial"] * 12
    assert [m.rate for m in moments[:12]] == [1.0] * 12
    assert [m.rate for m in moments[12:24]] == pytest.approx([k / 13 for k in range(12, 0, -1)])
    assert [m.rate for m in moments[26:33]] == [1.0] * 6 + [pytest.approx(6 / 7)]
    assert moments[-1].rate == pytest.approx(1 / 7)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100])
def test_every_step_of_any_training_has_a_phase_and_a_rate(steps: int) -> None:
    schedule = Schedule(parse_phases("regression:12+critic:1+adversarial:6"), steps, 0.7)
    order = ["regression", "critic", "adversarial"]
    places = [order.index(schedule.at(step).objective) for step in range(steps)]
    assert places == sorted(places)
    assert all(0 < schedule.at(step).rate <= 1 for step in range(steps))


def test_without_decay_the_rate_stays() -> None:
    schedule = Schedule(parse_phases("adversarial"), 9, 0.0)
    assert {schedule.at(step).rate for step in range(9)} == {1.0}


@pytest.mark.parametrize(
    ("share", "phases"),
    [
        (0.0, "adversarial"),
        (1.0, "regression"),
        (0.15, "regression:0.15+adversarial:0.85"),
        (None, "adversarial"),
    ],
)
def test_a_document_with_a_warm_up_is_read(share: float | None, phases: str) -> None:
    fields = {"epochs": 3} if share is None else {"epochs": 3, "warm_up_share": share}
    assert stored_config(fields) == TrainingConfig(epochs=3, phases=phases)
    assert TrainingConfig().replaced({"warm_up_share": 1.0}).phases == "regression"
    both = stored_config({"warm_up_share": 1.0, "lambda_perceptual": 2.0})
    assert both.phases == "perceptual"
    both = stored_config({"warm_up_share": 0.5, "lambda_perceptual": 2.0})
    assert both.phases == "perceptual:0.5+adversarial:0.5"


def test_a_checkpoint_of_before_is_gone_on_with() -> None:
    config = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=2)
    config = dataclasses.replace(config, phases="regression:0.5+adversarial:0.5")

    def start() -> Training:
        return Training(config, bank(4, 0, 36), bank(3, 1, 32), CPU)

    whole = start()
    next(whole.run())
    files = whole.snapshot().files()
    state = json.loads(files[STATE])
    for name in ("phases", "discriminators", "chroma", "publish"):
        del state["config"][name]
    state["config"]["warm_up_share"] = 0.5
    for name in ("val_colorfulness", "val_distance"):
        del state["history"][0][name]
    list(whole.run())
    resumed = start()
    resumed.load({**files, STATE: json.dumps(state).encode()})
    list(resumed.run())
    assert losses(resumed.history[1:]) == losses(whole.history[1:])


def test_each_phase_lets_learn_what_it_names() -> None:
    training = train()
    learner, critics = training.learner, training.discriminators
    assert critics is not None

    def weights() -> tuple[list[torch.Tensor], ...]:
        networks = (learner, training.generator, critics)
        return tuple([v.clone() for v in net.state_dict().values()] for net in networks)

    moved: dict[str, tuple[bool, ...]] = {}
    take = training.steps.take

    def watch(moment, sample):  # type: ignore[no-untyped-def]
        before = weights()
        result = take(moment, sample)
        pairs = zip(before, weights(), strict=True)
        changed = [not all(map(torch.equal, b, a)) for b, a in pairs]
        moved[moment.objective] = (changed[0], changed[2], bool(result[0]), bool(result[1]))
        return result

    training.steps.take = watch  # type: ignore[method-assign]
    kept = weights()[1]
    list(training.run())
    assert moved == {
        "regression": (True, False, False, False),
        "critic": (False, True, True, False),
        "adversarial": (True, True, True, True),
    }
    assert not all(map(torch.equal, kept, weights()[1]))


def test_a_training_of_phases_is_one_by_its_seed() -> None:
    first, second = (losses(list(train().run())) for _ in range(2))
    assert first == second
    assert first != losses(list(train(dataclasses.replace(SMALL, seed=1)).run()))


@pytest.mark.parametrize("stop", [1, 2, 3])  # in the regression, among critics, in the adversarial
def test_a_training_goes_on_within_each_phase_as_if_it_had_never_stopped(stop: int) -> None:
    whole = train()
    for record in whole.run():
        if record.epoch == stop:
            files = whole.snapshot().files()
    resumed = train()
    resumed.load(files)
    list(resumed.run())
    assert losses(resumed.history) == losses(whole.history)
    expected = whole.snapshot().tensors
    for name, tensor in resumed.snapshot().tensors.items():
        assert torch.equal(tensor, expected[name]), name


def test_the_generator_learns_slower_against_its_adversary_where_that_is_wanted() -> None:
    config = dataclasses.replace(
        SMALL, epochs=2, phases="regression+adversarial", adversarial_rate=0.1,
        discriminator_rate=0.4,
    )  # fmt: skip
    training = train(config)
    rates = []
    for _ in training.run():
        groups = (training.steps.adam.param_groups[0], training.steps.adam_d.param_groups[0])
        rates.append([group["lr"] / config.learning_rate for group in groups])
    assert rates == [pytest.approx([1.0, 0.4]), pytest.approx([0.1, 0.4])]


def test_colourfulness_is_in_every_record_and_the_distance_in_adversarial_ones() -> None:
    training = train(val=24)
    records = list(training.run())
    assert all(record.val_colorfulness for record in records)
    assert [record.val_distance is not None for record in records] == [False, False, True, True]
    few = train(dataclasses.replace(SMALL, epochs=1, phases="adversarial"), val=3)
    assert [record.val_distance for record in few.run()] == [None]


def test_the_state_nearest_the_originals_is_published_also_after_a_restart() -> None:
    # It learns four times the photographs' chroma, so that the first epoch is the nearest.
    config = dataclasses.replace(
        SMALL,
        epochs=2,
        phases="adversarial",
        discriminators="patches",
        chroma=4.0,
        publish="nearest",
        learning_rate=3e-2,
        average=0.0,
    )
    training = train(config, val=24)
    next(training.run())
    files = training.snapshot().files()
    kept = training.interpolated()
    expected = {name: each.clone() for name, each in kept.state_dict().items()}
    list(training.run())
    first, second = (record.val_distance or 0.0 for record in training.history)
    assert 0 < first < second
    resumed = train(config, val=24)
    resumed.load(files)
    list(resumed.run())
    for each in (training, resumed):
        generator, record = each.published()
        assert record.epoch == 1
        assert all(torch.equal(v, expected[name]) for name, v in generator.state_dict().items())
        assert not torch.equal(
            each.generator.state_dict()["write.weight"], expected["write.weight"]
        )
    last = dataclasses.replace(config, publish="last", epochs=1, interpolation=1.0)
    training = train(last, val=24)
    list(training.run())
    assert training.published() == (training.generator, training.history[-1])


@pytest.mark.parametrize(
    ("model", "rate", "whole"),
    [("animals", 0.0, True), ("animals", 0.5, False), (HYPERCOLUMN, 0.0, False)],
)
def test_photographs_are_read_whole_where_a_fixed_encoder_looks_at_them(
    scenes: Dataset, model: str, rate: float, whole: bool
) -> None:
    config = dataclasses.replace(SMALL, encoder_rate=rate, photographs=4, balance="classes")
    bank, val = load_banks(scenes, model, config)
    assert bank.pixels.shape[1] == (64 if whole else round(64 * JITTER))
    assert val.pixels.shape[1] == 64
    assert bank.weights is not None


def test_the_perceptual_term_is_in_every_phase_but_the_regression() -> None:
    config = dataclasses.replace(
        SMALL, epochs=4, phases="regression+perceptual+critic+adversarial", lambda_perceptual=5.0
    )
    training = train(config)
    looked: dict[str, int] = {}
    take = training.steps.take
    now = ""

    def watch(moment, sample):  # type: ignore[no-untyped-def]
        nonlocal now
        now = moment.objective
        looked.setdefault(now, 0)
        return take(moment, sample)

    def count(*_: object) -> None:
        if now:
            looked[now] += 1

    training.steps.take = watch  # type: ignore[method-assign]
    (network,) = training.steps.classifiers.networks
    network.register_forward_hook(count)
    records = list(training.run())
    assert looked == {"regression": 0, "perceptual": 4, "critic": 4, "adversarial": 4}
    assert [bool(record.loss_d) for record in records] == [False, False, True, True]


def test_what_is_published_stands_between_the_regression_and_the_adversary() -> None:
    def published(interpolation: float) -> tuple[dict[str, torch.Tensor], list[EpochRecord]]:
        training = train(dataclasses.replace(SMALL, interpolation=interpolation))
        list(training.run())
        generator, record = training.published()
        assert record == training.history[-1]
        return generator.state_dict(), training.history

    before, records = published(0.0)
    after, mean = published(1.0)[0], published(0.7)[0]
    assert not torch.equal(before["write.weight"], after["write.weight"])
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.7 * after[name] + 0.3 * before[name])
    # The adversary begins within the second of four epochs, and changes nothing that is published.
    measured = [(record.val_l1, record.val_colorfulness) for record in records]
    assert measured[1] == measured[2] == measured[3] != measured[0]


def test_random_weights_are_not_part_of_what_is_published() -> None:
    training = train(dataclasses.replace(SMALL, phases="adversarial", epochs=1))
    list(training.run())
    assert training.published()[0] is training.generator
