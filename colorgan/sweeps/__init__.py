"""Sweeps: one model trained with different hyper-parameters, and the results of each trial."""
