"""Sweeps in this process; tests/jobs has them on Ray."""

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    PLUGIN_NAME,
    SESSION_START_INFO_TAG,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from colorgan.cli import main
from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.errors import ConfigError, NotInStorage, TrainingDiverged
from colorgan.evaluation.evaluate import photo_id
from colorgan.images.decoding import decode, encode_webp
from colorgan.inference.colorizer import Colorizer
from colorgan.models import EMBEDDED
from colorgan.models.unet import UNetGenerator
from colorgan.packages.card import find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import Storage, open_storage
from colorgan.sweeps.documents import (
    EvaluatedEpoch,
    Sweep,
    Takeover,
    TrialPlan,
    create_sweep,
    open_sweep,
    read_history,
    read_state,
    shown_rows,
    write_state,
)
from colorgan.sweeps.population import (
    Decision,
    Round,
    carry_out,
    last_round,
    weights_history,
)
from colorgan.sweeps.publishing import publish_epoch
from colorgan.sweeps.results import best_epoch, standing, sweep_table
from colorgan.sweeps.trial import Judge, TrialRun, run_trial
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from tests.races import race

CPU = torch.device("cpu")
TINY = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=4)


def begin(scenes: Dataset, classifier: str = "", **values: tuple[Any, ...]) -> Sweep:
    """A sweep over one hyper-parameter, evaluated every two epochs."""
    ((name, tried),) = (values or {"batch_size": (2, 5)}).items()
    rows = shown_rows(scenes, "animals")
    sweep = Sweep(
        name="s",
        created="2026-11-23T00:00:00+00:00",
        dataset={"name": "scenes", "fingerprint": scenes.manifest.fingerprint},
        model="animals",
        training=TINY,
        trials=tuple(TrialPlan(f"{n:02d}", {name: each}) for n, each in enumerate(tried, 1)),
        eval_every=2,
        classifier=classifier,
        photographs=tuple(photo_id(row) for row in rows),
    )
    create_sweep(scenes.storage, sweep, rows)
    return sweep


def train(storage: Storage, sweep: Sweep, trial: str) -> Iterator[EvaluatedEpoch]:
    return run_trial(TrialRun(storage, sweep, trial, CPU, SpeedConfig(), 1))


@pytest.fixture
def swept(scenes: Dataset) -> Sweep:
    sweep = begin(scenes)
    for trial in sweep.trials:
        list(train(scenes.storage, sweep, trial.name))
    return sweep


def test_a_trial_is_the_training_of_its_configuration_alone_also_when_it_was_stopped(
    scenes: Dataset,
) -> None:
    storage, sweep = scenes.storage, begin(scenes)
    stopped = train(storage, sweep, "01")
    assert next(stopped).epoch == 2
    stopped.close()
    assert read_state(storage, sweep, "01").status == "running"
    assert [each.epoch for each in train(storage, sweep, "01")] == [4]

    config = dataclasses.replace(TINY, batch_size=2)
    alone = Training(config, *load_banks(scenes, "animals", config), CPU)
    expected = list(alone.run())
    history = read_history(storage, sweep, "01")
    assert [record.epoch for record in history.epochs] == [1, 2, 3, 4]
    for record, other in zip(history.epochs, expected, strict=True):
        for name in ("loss_d", "loss_gan", "loss_l1", "val_l1", "val_psnr"):
            assert getattr(record, name) == pytest.approx(getattr(other, name), rel=1e-5)
    assert [each.val_l1 for each in history.evaluations] == [
        history.epochs[1].val_l1,
        history.epochs[3].val_l1,
    ]
    assert read_state(storage, sweep, "01").status == "done"
    assert list(train(storage, sweep, "01")) == []


def test_what_is_no_number_is_not_the_best(scenes: Dataset, swept: Sweep) -> None:
    key = swept.key("trials", "01", "history.json")
    document = json.loads(scenes.storage.get(key))
    for evaluation in document["evaluations"]:
        evaluation["semantic"] = math.nan
    scenes.storage.put(key, json.dumps(document).encode())
    assert best_epoch(scenes.storage, swept, "semantic") is None


def test_a_trial_starts_from_a_package(scenes: Dataset) -> None:
    storage = scenes.storage
    torch.manual_seed(1)
    trained = UNetGenerator(TINY.architecture("animals"))
    metrics = dict.fromkeys(("val_l1", "val_psnr"), 0.0)
    package = Trained(trained, ("animals",), dataclasses.asdict(TINY), metrics, 1.0, "cpu")
    reference = publish(storage, "general", scenes, package).reference
    sweep = begin(scenes, start_from=("", reference))
    starts = {}
    for trial in ("01", "02"):
        next(train(storage, sweep, trial))
        starts[trial] = read_history(storage, sweep, trial).epochs[0].loss_l1
    alone = Training(TINY, *load_banks(scenes, "animals", TINY), CPU)
    alone.start_from(trained)
    assert starts["02"] == pytest.approx(next(alone.run()).loss_l1, rel=1e-5)
    assert starts["01"] != pytest.approx(starts["02"], rel=1e-3)


def test_what_a_trial_is_to_start_from_is_looked_for_before_it_begins(scenes: Dataset) -> None:
    with pytest.raises(ConfigError, match="a trial needs a package, as general@VERSION"):
        begin(scenes, start_from=("general",))
    with pytest.raises(NotInStorage, match="no version '1' of model 'general'"):
        begin(scenes, start_from=("general@1",))


def test_the_table_has_every_epoch_and_the_pictures_every_evaluated_one(
    scenes: Dataset, swept: Sweep
) -> None:
    table = sweep_table(scenes.storage, swept)
    assert list(zip(table["trial"], table["batch_size"], table["epoch"], strict=True)) == [
        (trial, size, epoch) for trial, size in (("01", 2), ("02", 5)) for epoch in range(1, 5)
    ]
    assert table["val_l1"].notna().all() and set(table["status"]) == {"done"}
    for trial in ("01", "02"):
        for epoch in (2, 4):
            for photo in swept.photographs:
                key = swept.picture_key(trial, epoch, photo)
                original = scenes.storage.get(swept.photograph_key(photo, "original"))
                picture = decode(scenes.storage.get(key)).rgb
                assert picture.shape == decode(original).rgb.shape


def test_any_evaluated_epoch_can_be_published(
    scenes: Dataset, swept: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    options = ["--storage", storage.uri, "--sweep", "s", "--trial", "02", "--epoch"]
    assert main(["models", "publish", *options, "2"]) == 0
    card = find(storage, "animals")
    assert card.reference in capsys.readouterr().out
    assert (card.epochs, card.run, card.training["batch_size"]) == (2, "s/02", 5)
    assert card.metrics["val_l1"] == read_history(storage, swept, "02").evaluations[0].val_l1
    photo = swept.photographs[0]
    gray = decode(storage.get(swept.photograph_key(photo, "gray"))).rgb
    (colored,) = Colorizer(load_generator(storage, card))([gray])
    assert encode_webp(colored) == storage.get(swept.picture_key("02", 2, photo))

    best = best_epoch(storage, swept, "val_l1")
    table = sweep_table(storage, swept)
    evaluated = table[table["epoch"].isin((2, 4))]
    assert best and best.evaluated.val_l1 == evaluated["val_l1"].min()
    assert best_epoch(storage, swept, "semantic") is None, "no classifier looked at it"

    assert main(["models", "publish", *options, "3"]) == 1
    assert "not evaluated after epoch 3: there are 2, 4" in capsys.readouterr().err
    with pytest.raises(NotInStorage, match="no trial '03': there are 01, 02"):
        publish_epoch(storage, "s", "03", 2)


def test_a_loss_that_is_not_finite_marks_its_trial_alone(scenes: Dataset) -> None:
    storage, sweep = scenes.storage, begin(scenes, lambda_l1=(100.0, 1e39))
    with pytest.raises(TrainingDiverged):
        list(train(storage, sweep, "02"))
    state = read_state(storage, sweep, "02")
    assert state.status == "failed" and "the loss is not finite in epoch 1" in state.error
    assert read_state(storage, sweep, "01").status == "waiting"
    assert len(list(train(storage, sweep, "01"))) == 2


def test_a_trial_is_published_as_vivid_as_its_training_would_be(scenes: Dataset) -> None:
    storage, sweep = scenes.storage, begin(scenes, colorfulness=(0.0, 1.0))
    for trial in sweep.trials:
        list(train(storage, sweep, trial.name))
    plain, vivid = (publish_epoch(storage, "s", trial, 4) for trial in ("01", "02"))
    assert "vividness" not in plain.metrics
    factor = vivid.metrics["vividness"]
    assert factor > 1
    last = [load_generator(storage, card).state_dict()["up.4.weight"] for card in (plain, vivid)]
    torch.testing.assert_close(last[1], last[0] * factor)
    assert vivid.metrics["val_colorfulness"] > plain.metrics["val_colorfulness"]


def go_on(storage: Storage, sweep: Sweep, trial: str, evaluations: int) -> None:
    """Train a trial for so many evaluations more."""
    going = train(storage, sweep, trial)
    for _ in range(evaluations):
        next(going)
    going.close()


def test_a_trial_takes_over_anothers_networks_and_stays_what_it_was(scenes: Dataset) -> None:
    storage, sweep = scenes.storage, begin(scenes, learning_rate=(2e-4, 1e-5))
    for trial in ("01", "02"):
        go_on(storage, sweep, trial, 1)
    own, donors = (read_history(storage, sweep, trial).epochs for trial in ("02", "01"))
    scores = {"01": donors[-1].val_l1, "02": own[-1].val_l1}
    changed = {"learning_rate": 4e-4}
    carry_out(storage, sweep, Round(2, scores, (Decision("02", "01", changed),)))
    assert [each.epoch for each in train(storage, sweep, "02")] == [4]

    state = read_state(storage, sweep, "02")
    assert state.values == changed
    before = {"learning_rate": 1e-5}
    taken = Takeover(2, "01", before, changed, scores["02"], scores["01"])
    assert state.takeovers == (taken,)
    history = read_history(storage, sweep, "02")
    assert history.epochs[:2] == own != donors
    assert [each.epoch for each in history.epochs] == [1, 2, 3, 4]
    assert [each.epoch for each in history.evaluations] == [2, 4]
    table = sweep_table(storage, sweep)
    assert list(table[table["trial"] == "02"]["learning_rate"]) == [1e-5] * 2 + [4e-4] * 2

    # A model is published with the history of its weights, and the values that made them.
    assert weights_history(storage, sweep, "02", 4) == (*donors, *history.epochs[2:])
    first, last = (publish_epoch(storage, "s", "02", epoch) for epoch in (2, 4))
    assert [card.training["learning_rate"] for card in (first, last)] == [1e-5, 4e-4]
    assert first.metrics["val_l1"] == own[-1].val_l1

    # The same as the donor's training, continued with the trial's values.
    config = dataclasses.replace(TINY, learning_rate=4e-4)
    alone = Training(config, *load_banks(scenes, "animals", config), CPU)
    Checkpoints(storage, sweep.key("trials", "01")).restore(alone, inherit=True)
    assert next(alone.run()).loss_l1 == pytest.approx(history.epochs[2].loss_l1, rel=1e-5)


def test_what_a_job_that_died_left_of_a_round_is_carried_out_once(scenes: Dataset) -> None:
    storage, sweep = scenes.storage, begin(scenes, learning_rate=(2e-4, 1e-5, 1e-6))
    for trial in ("01", "02", "03"):
        go_on(storage, sweep, trial, 1)
    decided = Round(
        2,
        {},
        tuple(Decision(trial, "01", {"learning_rate": 3e-4}) for trial in ("02", "03")),
    )
    carry_out(storage, sweep, dataclasses.replace(decided, decisions=decided.decisions[:1]))
    assert not read_state(storage, sweep, "03").takeovers, "it died here"
    carry_out(storage, sweep, decided)
    assert last_round(storage, sweep) == decided
    carry_out(storage, sweep, last_round(storage, sweep))
    for trial in ("02", "03"):
        (taken,) = read_state(storage, sweep, trial).takeovers
        assert (taken.epoch, taken.donor, taken.own) == (2, "01", None)
        assert [each.epoch for each in train(storage, sweep, trial)] == [4]


def test_takeovers_that_an_earlier_version_recorded_are_read(scenes: Dataset) -> None:
    sweep = begin(scenes, learning_rate=(2e-4, 1e-5))
    document = {
        "status": "running",
        "values": {"learning_rate": 4e-4},
        "epoch": 3,
        "updated": 0.0,
        "device": "cpu",
        "error": "",
        "schema_version": 1,
        "inherited": ["epoch 2 from trial 01, with learning_rate 0.0004"],
    }
    scenes.storage.put("runs/s/trials/02/trial.json", json.dumps(document).encode())
    state = read_state(scenes.storage, sweep, "02")
    assert state.takeovers == (Takeover(2, "01"),)
    assert state.values_at(1) == state.values_at(3) == {"learning_rate": 4e-4}


def test_a_trial_that_is_stopped_is_told_where_it_stood(scenes: Dataset, swept: Sweep) -> None:
    values = {
        trial: read_history(scenes.storage, swept, trial).evaluations[-1].val_l1
        for trial in ("01", "02")
    }
    worse = max(values, key=lambda trial: values[trial])
    assert standing(scenes.storage, swept, worse, "val_l1") == (
        f"after epoch 4, where its val_l1 of {values[worse]:.4g} was number 2 of the 2 that had "
        "come so far"
    )
    assert "number 1 of" in standing(scenes.storage, swept, *{*values} - {worse}, metric="val_l1")
    assert "which gave no semantic" in standing(scenes.storage, swept, "01", "semantic")


def test_a_sweep_continues_with_its_scheduler_only(scenes: Dataset) -> None:
    sweep, rows = begin(scenes), shown_rows(scenes, "animals")
    goes_on = dataclasses.replace(sweep, scheduler="asha", metric="val_psnr")
    assert create_sweep(scenes.storage, goes_on, rows), "an earlier version recorded none"
    named = dataclasses.replace(sweep, name="t", scheduler="none", metric="val_l1")
    create_sweep(scenes.storage, named, rows)
    assert create_sweep(scenes.storage, dataclasses.replace(named, metric="frechet"), rows)
    with pytest.raises(ConfigError, match="was started with another scheduler"):
        create_sweep(scenes.storage, dataclasses.replace(named, scheduler="pbt"), rows)
    ranked = dataclasses.replace(sweep, name="u", scheduler="pbt", metric="val_l1")
    create_sweep(scenes.storage, ranked, rows)
    with pytest.raises(ConfigError, match="was started with another metric"):
        create_sweep(scenes.storage, dataclasses.replace(ranked, metric="frechet"), rows)


def test_the_classifier_judges_what_the_generator_makes(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begin(scenes, EMBEDDED, batch_size=(2,))
    trial = train(scenes.storage, sweep, "01")
    evaluated = next(trial)
    assert evaluated.semantic is not None and 0 < evaluated.semantic < 1
    assert evaluated.frechet is None, "of the few validation photographs there is no distance"
    for module in ("colorgan.sweeps.trial", "colorgan.metrics"):
        monkeypatch.setattr(f"{module}.FEWEST_PHOTOGRAPHS", 2)
    evaluated = next(trial)
    assert evaluated.frechet is not None and evaluated.frechet > 1
    assert evaluated.hue_frechet is not None and evaluated.hue_frechet > 1
    assert evaluated.hue_frechet != evaluated.frechet
    record = read_history(scenes.storage, sweep, "01").epochs[evaluated.epoch - 1]
    assert evaluated.colorfulness == record.val_colorfulness
    assert evaluated.colorfulness is not None and evaluated.colorfulness > 0
    line = sweep_table(scenes.storage, sweep).iloc[evaluated.epoch - 1]
    assert (line["hue_frechet"], line["colorfulness"]) == (
        evaluated.hue_frechet,
        evaluated.colorfulness,
    )


def test_photographs_whose_class_has_no_labels_have_no_part_in_the_semantic_score(
    scenes: Dataset,
) -> None:
    _, val = load_banks(scenes, "animals", TINY)
    generator = UNetGenerator(TINY.architecture("animals"))

    def score(labels: tuple[str, ...]) -> float | None:
        groups = [(label, 0) for label in labels]
        photographs = PhotoBank(val.pixels[: len(labels)], groups)
        return Judge(photographs, EMBEDDED)(generator)["semantic"]

    some = ("animals", "animals", *["landscapes"] * (len(val) - 2))
    assert score(some) == pytest.approx(score(some[:2]), abs=1e-4)
    assert score(("landscapes", "landscapes")) is None


def test_tensorboard_finds_scalars_pictures_and_hyper_parameters(
    scenes: Dataset, swept: Sweep
) -> None:
    records = read_history(scenes.storage, swept, "02").epochs
    folder = scenes.storage.location(swept.key("tensorboard", "02"))
    events = EventAccumulator(folder, size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    scalars = events.Scalars("val_l1")
    assert [each.step for each in scalars] == [1, 2, 3, 4]
    np.testing.assert_allclose([s.value for s in scalars], [r.val_l1 for r in records], rtol=1e-6)
    assert {"loss_d", "loss_gan", "loss_l1", "val_psnr", "seconds"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == set(swept.photographs)
    assert [each.step for each in events.Images(swept.photographs[0])] == [2, 4]
    found = events.PluginTagToContent(PLUGIN_NAME)
    assert EXPERIMENT_TAG in found
    start = HParamsPluginData.FromString(found[SESSION_START_INFO_TAG]).session_start_info
    assert {name: value.number_value for name, value in start.hparams.items()} == {"batch_size": 5}


def test_a_sweep_goes_on_with_the_same_options_only(scenes: Dataset) -> None:
    sweep, rows = begin(scenes), shown_rows(scenes, "animals")
    assert create_sweep(scenes.storage, sweep, rows)
    assert open_sweep(scenes.storage, "s") == sweep
    other = dataclasses.replace(sweep, eval_every=3)
    with pytest.raises(ConfigError, match="was started with another eval_every"):
        create_sweep(scenes.storage, other, rows)
    impossible = dataclasses.replace(sweep, name="t", trials=(TrialPlan("01", {"size": 33}),))
    with pytest.raises(ConfigError, match="size"):
        create_sweep(scenes.storage, impossible, rows)
    with pytest.raises(NotInStorage, match=r"no sweep 'u'.*there are s"):
        open_sweep(scenes.storage, "u")


def test_fewer_photographs_are_taken_evenly(scenes: Dataset) -> None:
    config = dataclasses.replace(TINY, photographs=7)
    train_bank, val = load_banks(scenes, "general", config)
    assert len(train_bank) == 7
    assert len(val) == scenes.count(scenes.manifest.classes, "val")


def test_a_state_that_was_written_is_read_again(scenes: Dataset) -> None:
    sweep = begin(scenes)
    state = dataclasses.replace(read_state(scenes.storage, sweep, "01"), status="stopped", epoch=2)
    write_state(scenes.storage, sweep, "01", state)
    read = read_state(scenes.storage, sweep, "01")
    assert dataclasses.replace(read, updated=0.0) == state
    assert read.over and not math.isclose(read.updated, 0)


def create_another(number: int, root: str, eval_every: int) -> str:
    storage = open_storage(root)
    dataset = open_dataset(storage, "scenes")
    rows = shown_rows(dataset, "animals")
    sweep = Sweep(
        name=f"race-{number}",
        created="2026",
        dataset={"name": "scenes", "fingerprint": dataset.manifest.fingerprint},
        model="animals",
        training=TINY,
        trials=(TrialPlan("01", {}),),
        eval_every=eval_every,
        classifier="",
        photographs=tuple(photo_id(row) for row in rows),
    )
    try:
        return "goes on" if create_sweep(storage, sweep, rows) else "started"
    except ConfigError as error:
        return str(error)


def test_of_two_sweeps_of_one_name_at_the_same_moment_one_is_started(scenes: Dataset) -> None:
    storage = scenes.storage
    for outcomes in race(create_another, [(storage.uri, 1), (storage.uri, 2)], 4):
        (refused,) = set(outcomes) - {"started"}
        assert "was started with another eval_every" in refused
