"""Sweeps: one model trained with different hyper-parameters, and what came of each trial."""
