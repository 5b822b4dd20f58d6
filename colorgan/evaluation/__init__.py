"""Evaluation: measuring colourings, comparing models, and reporting the results."""
