"""`colorgan train`, stopped by a signal in the middle of an epoch."""

import signal

import pytest

from colorgan.cli import main
from colorgan.commands.stopping import stops_when_asked
from colorgan.data.dataset import Dataset
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.progress import Progress
from tests.conftest import SMALL, history_epochs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_every_step_and_the_same_command_continues(
    scenes: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    steps = 0
    step = Progress.step

    def send(self: Progress, model: str, fraction: float) -> None:
        nonlocal steps
        step(self, model, fraction)
        steps += fraction > 0
        if steps == 2:
            signal.raise_signal(number)

    command = ["train", "--storage", scenes.storage.uri, "--dataset", "scenes", "--run", "r"]
    command += ["--model", "animals", *SMALL, "--epochs", "1"]
    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "step", send)
        assert main(command) == 130
    assert signal.getsignal(number) is before
    error = capsys.readouterr().err
    assert "stopping: saving what is done; Ctrl-C again ends at once" in error
    assert "run the same command with --run r to continue" in error
    checkpoints = Checkpoints(scenes.storage, "runs/r/animals")
    assert checkpoints.position() == (0, 2)
    assert main(command) == 0
    assert history_epochs(scenes.storage, "animals") == [1]


def test_the_second_signal_ends_at_once() -> None:
    with stops_when_asked() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
