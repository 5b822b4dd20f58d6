"""A training on a GPU that is stopped between two steps resumes exactly."""

import pytest
import torch

from tests.gpu.test_training_on_a_gpu import MODELS, losses, training
from tests.training.test_stopping import stopped_at


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("name", ["unet, cGAN", "encoder_unet, every phase and discriminator"])
def test_a_training_resumes_exactly_between_two_steps(device: torch.device, name: str) -> None:
    config, model = MODELS[name]
    whole = training(config, model, device, "bfloat16")
    list(whole.run())
    snapshot = stopped_at(training(config, model, device, "bfloat16"), 1, 1)
    assert (snapshot.epoch, snapshot.step) == (1, 1)
    resumed = training(config, model, device, "bfloat16")
    resumed.load(snapshot.files())
    list(resumed.run())
    assert losses(resumed.history) == losses(whole.history)
    expected = whole.snapshot().tensors
    differing = [
        n for n, t in resumed.snapshot().tensors.items() if not torch.equal(t, expected[n])
    ]
    assert not differing
