"""Training data: sources of photographs, staging, the Parquet dataset and batches."""
