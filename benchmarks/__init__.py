"""Benchmarks: each contender is compared with a reference that is measured in the same run."""
