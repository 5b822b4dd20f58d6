import pytest
import torch

from colorgan.training.config import TrainingConfig
from colorgan.training.objectives import incoherence


def one_color(a: float, b: float, side: int = 56) -> torch.Tensor:
    return torch.tensor([a, b]).view(1, 2, 1, 1).expand(1, 2, side, side).clone()


def test_incoherence_is_indifferent_to_which_colors_and_to_fewer_of_them() -> None:
    photograph = torch.rand(2, 2, 56, 56, generator=torch.Generator().manual_seed(1))
    shifted = photograph + torch.tensor([0.3, -0.2]).view(1, 2, 1, 1)
    for colored in (photograph, shifted, photograph * 0.5, torch.zeros_like(photograph)):
        assert incoherence(colored, photograph).item() == pytest.approx(0, abs=1e-6)


def test_incoherence_is_what_two_colors_differ_by_where_the_photograph_has_one() -> None:
    colored = one_color(0.0, 0.0)
    colored[..., 28:] = torch.tensor([0.3, 0.4]).view(1, 2, 1, 1)  # a distance of 0.5
    # Of 28 columns, `offset` pairs of the 28 - offset lie on both sides; none of the pairs of rows.
    shares = [offset / (28 - offset) for offset in (1, 2, 4, 8)]
    expected = 0.5 * sum(shares) / 8
    assert incoherence(colored, one_color(0.2, 0.2)).item() == pytest.approx(expected, rel=0.01)


def test_incoherence_takes_pictures_of_any_side_and_has_finite_gradients() -> None:
    for side in (2, 8, 56, 256):
        colored = one_color(0.1, 0.1, side).requires_grad_()
        incoherence(colored, one_color(0.0, 0.0, side)).backward()
        assert colored.grad is not None
        assert torch.isfinite(colored.grad).all()


def test_the_coherence_term_is_named_where_a_phase_uses_it() -> None:
    config = TrainingConfig(phases="regression:1+adversarial:1", epochs=2, lambda_coherence=400.0)
    assert "coherence (weight 400)" in config.objective("animals")
    assert "coherence" not in config.objective("animals", 1)
