"""The commands that this package adds to `colorgan` through entry points in pyproject.toml."""

from colorgan.commands.command import Command

JOBS = Command(
    "list the cluster's jobs, print the log of one, or stop it",
    "cluster.jobs_command",
    "prepare_jobs",
)
