"""Population-based training, with Tune's own trials; tests/jobs has a whole sweep on Ray."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from colorgan.data.dataset import Dataset, open_dataset
from colorgan.storage import open_storage
from colorgan.sweeps.documents import Sweep, read_state
from colorgan.sweeps.population import Round, last_round
from tests.sweeps.test_sweeps import begin, go_on
from tune.population import Population
from tune.space import Space

RATES = (1e-3, 2e-4, 1e-5, 1e-6)
SCORES = {"01": 8.0, "02": 9.0, "03": 10.0, "04": 11.0}
SPACE = Space({"learning_rate": RATES}, {})


class Population4:
    """A population of four on Tune's scheduler, whose results the test reports."""

    def __init__(self, scenes: Dataset, sweep: Sweep) -> None:
        self.scheduler = Population(scenes.storage, sweep, SPACE, at_once=2)
        self.scheduler.set_search_properties("val_l1", "min")
        self.trials = {
            plan.name: Trial(
                "stub",
                config={"trial": {"name": plan.name, **plan.values}},
                trial_name_creator=lambda trial: trial.config["trial"]["name"],
                stub=True,
            )
            for plan in sweep.trials
        }
        self.controller = SimpleNamespace(
            search_alg=None,
            get_trials=lambda: list(self.trials.values()),
            get_live_trials=lambda: {t for t in self.trials.values() if not t.is_finished()},
        )
        for trial in self.trials.values():
            self.scheduler.on_trial_add(self.controller, trial)  # type: ignore[arg-type]

    def report(self, name: str, epoch: int, score: float) -> str:
        trial = self.trials[name]
        trial.set_status(Trial.RUNNING)
        result = {"epoch": epoch, "val_l1": score}
        decision = self.scheduler.on_trial_result(self.controller, trial, result)
        if decision == TrialScheduler.PAUSE:
            trial.set_status(Trial.PAUSED)
        return decision


@pytest.fixture
def sweep(scenes: Dataset) -> Sweep:
    """A sweep whose four trials have done the first two of four epochs."""
    sweep = begin(scenes, learning_rate=RATES)
    for plan in sweep.trials:
        go_on(scenes.storage, sweep, plan.name, 1)
    return sweep


def copied(scenes: Dataset, sweep: Sweep, root: Any) -> Dataset:
    """The same sweep in another storage, as it is now."""
    storage = open_storage(str(root))
    for key in scenes.storage.list(""):
        storage.put(key, scenes.storage.get(key))
    return open_dataset(storage, "scenes")


def test_all_wait_for_each_other_and_a_round_follows_from_the_seed_alone(
    scenes: Dataset, sweep: Sweep, tmp_path: Any
) -> None:
    rounds = []
    for number, order in enumerate((("01", "02", "03", "04"), ("04", "02", "01", "03"))):
        here = copied(scenes, sweep, tmp_path / str(number))
        population = Population4(here, sweep)
        random.seed(number)  # the draws are not of the global state
        outside = random.getstate()
        for done, name in enumerate(order[:-1], start=1):
            assert population.report(name, 2, SCORES[name]) == TrialScheduler.PAUSE
            assert read_state(here.storage, sweep, name).status == "paused"
            assert population.scheduler.choose_trial_to_run(population.controller) not in (
                population.trials[each] for each in order[:done]
            )
        assert last_round(here.storage, sweep) == Round(0), "one has not come so far"
        assert population.report(order[-1], 2, SCORES[order[-1]]) == TrialScheduler.PAUSE
        assert random.getstate() == outside
        decided = last_round(here.storage, sweep)
        assert (decided.epoch, decided.scores) == (2, SCORES)
        (decision,) = decided.decisions
        assert (decision.trial, decision.donor) == ("04", "01"), "a quarter of the four"
        assert decision.values["learning_rate"] in RATES
        config = population.trials["04"].config["trial"]
        assert config == {"name": "04", **decision.values}, "it keeps its name"
        states = [read_state(here.storage, sweep, plan.name) for plan in sweep.trials]
        assert [len(state.takeovers) for state in states] == [0, 0, 0, 1]
        assert states[3].values == decision.values
        rounds.append(decided)
    assert rounds[0] == rounds[1]


def test_a_round_does_not_wait_for_a_trial_that_is_gone_nor_for_the_last_epoch(
    scenes: Dataset, sweep: Sweep
) -> None:
    population = Population4(scenes, sweep)
    for name in ("01", "02", "03"):
        population.report(name, 2, SCORES[name])
    failing = population.trials["04"]
    failing.set_status(Trial.RUNNING)
    failing.max_failures, failing.run_metadata.num_failures = 0, 1
    population.scheduler.on_trial_error(population.controller, failing)
    decided = last_round(scenes.storage, sweep)
    assert [(each.trial, each.donor) for each in decided.decisions] == [("03", "01")]
    assert set(decided.scores) == {"01", "02", "03"}
    assert population.report("01", 4, 7.0) == TrialScheduler.CONTINUE, "nothing is left to train"


def test_another_job_goes_on_after_the_last_round(scenes: Dataset, sweep: Sweep) -> None:
    first = Population4(scenes, sweep)
    for name, score in SCORES.items():
        first.report(name, 2, score)
    decided = last_round(scenes.storage, sweep)
    again = Population4(scenes, sweep)
    for name, score in SCORES.items():  # as trials do that were begun before
        assert again.report(name, 2, score) == TrialScheduler.CONTINUE
    assert last_round(scenes.storage, sweep) == decided
    assert len(read_state(scenes.storage, sweep, "04").takeovers) == 1
