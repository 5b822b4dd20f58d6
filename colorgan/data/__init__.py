"""Photographs in: sources, staging, the Parquet dataset, batches for training."""
