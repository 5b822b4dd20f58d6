"""Sweeps over hyper-parameters: the search space, the trainable on Ray Tune, and the dashboard."""
