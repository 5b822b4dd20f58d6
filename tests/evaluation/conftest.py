"""Fixtures of the tests of evaluations."""

import pytest


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds."""
    monkeypatch.setattr("colorgan.evaluation.report.draw_figures", lambda results, analysis: [])
