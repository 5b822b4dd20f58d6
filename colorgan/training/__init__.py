"""Training the networks: configurations, objectives, the loop, checkpoints, and runs."""
