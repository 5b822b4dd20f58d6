"""Continuing a training with another number of epochs.

Phases, and the fall of the learning rate at their ends, are shares of a training's epochs, so the
number of epochs decides the objective and the learning rate of every step. A training can continue
with another number only if no step that it has taken would have been another one: the result is
then the same as if it had been started with that number. That holds at any time for a single phase
without --decay-share, and otherwise until the first step at which the two schedules differ.
"""

from dataclasses import replace

from colorgan.errors import ConfigError
from colorgan.training.config import TrainingConfig
from colorgan.training.phases import Moment, Schedule


def check_continues(
    model: str, config: TrainingConfig, then: TrainingConfig, steps: int, done: tuple[int, int]
) -> None:
    """Check that a training can continue from a checkpoint.

    Args:
        model: the model's name; empty if it has none.
        config: the configuration with which it is to continue.
        then: the configuration of the checkpoint.
        steps: the number of steps of an epoch.
        done: the number of epochs done, and of steps of the next epoch that are done.

    Raises:
        ConfigError: another option than the number of epochs differs, or as `check_epochs`.
    """
    if replace(then, epochs=config.epochs) != config:
        raise ConfigError("the checkpoint belongs to a training with other options")
    if then.epochs != config.epochs:
        check_epochs(model, config, then.epochs, steps, done)


def check_epochs(
    model: str, config: TrainingConfig, before: int, steps: int, done: tuple[int, int]
) -> None:
    """Check that a training can continue with another number of epochs.

    Args:
        model: as in `check_continues`, and so `config`, `steps` and `done`.
        config: the configuration with the new number.
        before: the number of epochs that it has had so far.
        steps: the number of steps of an epoch.
        done: what has been trained.

    Raises:
        ConfigError: it has done more epochs, or a step that it has taken would have been another
            one; the message names the first such epoch and the way out.
    """
    epochs, step = done
    now, name = config.epochs, model or "the training"
    if (epochs, step) > (now, 0):
        more = " and a part of the next" if step else ""
        raise ConfigError(
            f"--epochs {now}: {name} has done {epochs} epochs{more}: give more, or another --run"
        )
    phases = config.phases_of(model)
    old, new = (Schedule(phases, steps * each, config.decay_share) for each in (before, now))
    for taken in range(epochs * steps + step):
        was, becomes = old.at(taken), new.at(taken)
        if was != becomes:
            raise ConfigError(
                f"--epochs {now}: {name} has done {epochs} of {before} epochs, and its phases are "
                f"shares of them: epoch {taken // steps + 1} was {_in_words(was)}, and of {now} "
                f"epochs it is {_in_words(becomes)}. Train {now} epochs in another --run, or go on "
                "from the weights in another --run with --start-from MODEL@VERSION"
            )


def _in_words(moment: Moment) -> str:
    rate = "" if moment.rate == 1 else f" at {100 * moment.rate:.3g} % of the learning rate"
    return f"{moment.objective}{rate}"
