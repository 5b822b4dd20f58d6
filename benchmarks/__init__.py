"""Measurements of speed: each beside its reference, in the same run."""
