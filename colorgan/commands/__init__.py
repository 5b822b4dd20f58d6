"""The commands of `colorgan`, one module per subject."""
