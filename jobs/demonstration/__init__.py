"""What the demo shows of the models that it has trained."""
