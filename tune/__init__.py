"""Hyper-parameter sweeps: the search space, the trials on Ray Tune, and the dashboard."""
