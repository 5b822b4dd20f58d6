"""Population-based training on Ray Tune: synchronous by epochs, seeded, and kept in storage.

Ray's own scheduler compares trials that have done different numbers of epochs, and forgets its
rounds with its job. Here all trials wait for each other at every evaluation, the draws of a round
follow from the sweep's seed and the epoch alone, and the rounds are carried out in storage.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from colorgan.storage import Storage
from colorgan.sweeps.documents import Sweep, read_state, write_state
from colorgan.sweeps.population import Decision, Round, carry_out, last_round
from tune.space import Space


class Population(PopulationBasedTraining):
    """The scheduler of a sweep's population."""

    def __init__(self, storage: Storage, sweep: Sweep, space: Space, at_once: int) -> None:
        """Continue after the last round of the sweep; what was left of it is carried out.

        Args:
            storage: storage of the sweep.
            sweep: the sweep, which is evaluated and perturbed at the same interval of epochs.
            space: the search space, which draws values and bounds them.
            at_once: maximum number of trials that train at the same time.

        Raises:
            ConfigError: the space varies nothing that may change during training.
        """
        self._seed = sweep.training.seed
        super().__init__(
            time_attr="epoch",
            perturbation_interval=sweep.eval_every,
            hyperparam_mutations={"trial": space.mutations(self._seed)},
            custom_explore_fn=lambda config: {**config, "trial": space.valid(config["trial"])},
            log_config=False,
            synch=True,
        )
        self._storage, self._sweep, self._space = storage, sweep, space
        self._at_once = at_once
        done = last_round(storage, sweep)
        if done.epoch:
            carry_out(storage, sweep, done)
        self._next_perturbation_sync = done.epoch + sweep.eval_every

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Let a trial continue, or wait for the others at the end of a round."""
        epoch = result["epoch"]
        if epoch >= self._epochs(trial) or epoch < self._next_perturbation_sync:
            return str(TrialScheduler.CONTINUE)
        self._save_trial_state(self._trial_state[trial], epoch, result, trial)
        state = read_state(self._storage, self._sweep, str(trial))
        write_state(self._storage, self._sweep, str(trial), replace(state, status="paused"))
        self._end_round(tune_controller)
        paused = trial.status == Trial.PAUSED
        return str(TrialScheduler.NOOP if paused else TrialScheduler.PAUSE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Do not wait for a trial that has ended."""
        super().on_trial_complete(tune_controller, trial, result)
        self._end_round(tune_controller, gone=trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Do not wait for a trial that has failed, unless it will be restarted."""
        super().on_trial_error(tune_controller, trial)
        if not (trial.status == Trial.RUNNING and trial.should_recover()):
            self._end_round(tune_controller, gone=trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Choose the next trial, if no more than the maximum are training."""
        running = sum(trial.status == Trial.RUNNING for trial in tune_controller.get_trials())
        return None if running >= self._at_once else super().choose_trial_to_run(tune_controller)

    def _epochs(self, trial: Trial) -> int:
        return self._sweep.config(_values(trial)).epochs

    def _end_round(self, tune_controller: Any, gone: Trial | None = None) -> None:
        """Perturb the population if all its trials wait for the end of the round."""
        epoch = self._next_perturbation_sync
        waiting = [trial for trial in tune_controller.get_live_trials() if trial is not gone]
        if not waiting or any(self._trial_state[t].last_train_time < epoch for t in waiting):
            return
        scores = {str(t): (self._trial_state[t].last_result or {})[self._metric] for t in waiting}
        known = {name: score for name, score in scores.items() if math.isfinite(score)}
        trials = {str(trial): trial for trial in waiting}
        self._hyperparam_mutations = {"trial": self._space.mutations(self._seed + epoch)}
        with _seeded(f"{self._seed} {epoch}"):
            decisions = [
                Decision(weak, strong, self._explored(trials[weak], trials[strong]))
                for weak, strong in self._pairs(known)
            ]
        carry_out(self._storage, self._sweep, Round(epoch, known, tuple(decisions)))
        for decision in decisions:
            config = {"name": decision.trial, **decision.values}
            trials[decision.trial].set_config({**trials[decision.trial].config, "trial": config})
        self._next_perturbation_sync += self._perturbation_interval

    def _pairs(self, scores: dict[str, float]) -> list[tuple[str, str]]:
        """Each of the weakest trials, with one of the strongest drawn for it."""
        ranked = sorted(scores, key=lambda name: (self._metric_op * scores[name], name))
        count = min(math.ceil(len(ranked) * self._quantile_fraction), len(ranked) // 2)
        strongest = ranked[len(ranked) - count :]
        return [(weak, random.choice(strongest)) for weak in ranked[:count]]

    def _explored(self, trial: Trial, donor: Trial) -> dict[str, Any]:
        """The values with which a trial continues the donor's state."""
        config, _ = self._get_new_config(trial, donor)
        changed: dict[str, Any] = config["trial"]
        return {name: changed[name] for name in _values(trial)}


def _values(trial: Trial) -> dict[str, Any]:
    """A trial's values, as Tune has them."""
    return {name: value for name, value in trial.config["trial"].items() if name != "name"}


@contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Seed the global random state, from which Ray's scheduler draws, inside a `with` block."""
    outside = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(outside)
