"""The work of jobs/colorize.py: an archive from its list to its summary."""

import argparse
import hashlib
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cluster.connection import cluster_nodes, connected
from cluster.job import say
from cluster.waiting import wait_for_place
from colorgan.archives.destination import Destination, open_destination
from colorgan.archives.listing import Photo, find_photographs, is_file_address
from colorgan.archives.networks import Chosen
from colorgan.archives.steps import Outcome, Settings
from colorgan.archives.tally import FAILED, SUMMARY, Tally
from colorgan.commands.pictures import Outputs, noted
from colorgan.commands.text import printable
from colorgan.errors import ColorganError, ConfigError
from colorgan.storage import Storage
from colorgan.storage.lease import Lease

# A private Ray keeps idle workers for a minute, because each new one imports PyTorch.
RAY_SETTINGS = {"RAY_idle_worker_killing_time_threshold_ms": "60000"}
_LINE_S = 10.0  # between lines of progress
_ERRORS = 20  # failures that are printed; failed.csv has all of them


def absolute(address: str) -> str:
    """An address that other processes understand; raises ConfigError if it cannot be made one."""
    if not is_file_address(address) or address.startswith("/"):
        return address
    if "working_dir_files" in Path.cwd().parts:
        raise ConfigError(
            f"{address} would be in a temporary copy of the working directory: give a full path or "
            "s3://bucket/prefix"
        )
    return os.path.abspath(address)  # noqa: PTH100 - symbolic links stay


def name_of(destination: Destination) -> str:
    """The default name of a job, which is the same for the same destination."""
    digest = hashlib.sha256(destination.uri.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", destination.uri.rstrip("/").rpartition("/")[2])
    return f"{last.strip('-._')[:60] or 'archive'}-{digest}"


def find_photos(source: str, recursive: bool, output: str, storage: Storage) -> list[Photo]:
    """The photographs of an archive, with addresses for other processes; raises ColorganError."""
    source = source if source.startswith("@") else absolute(source)
    found = find_photographs([source], lambda: storage, recursive, output)
    return [photo.absolute() for photo in noted(found, [source])]


class ArchiveJob:
    """Colours an archive on the cluster, and says how far it is.

    Attributes:
        tally: what became of the photographs so far.
    """

    def __init__(self, outputs: Outputs, chosen: Chosen, settings: Settings, lease: Lease) -> None:
        """Take what is to be done, and the lease in which to report."""
        self.tally = Tally(len(outputs.items), outputs.skipped)
        self._outputs, self._chosen, self._settings = outputs, chosen, settings
        self._lease = lease
        self._said = time.monotonic()

    def run(self, args: argparse.Namespace) -> None:
        """Colour the photographs; raises ColorganError if the job cannot go on."""
        self._report()
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        with connected(args.address):
            # It imports Ray: see cluster.connection.
            from cluster.archives import color_on_cluster, plan_archive

            nodes = cluster_nodes()
            plan = plan_archive(
                *(nodes, args.device, args.gpus_per_actor),
                *(args.actors, args.batch_size, args.read_by),
            )
            say(plan.sentence())
            self._check_places(len(nodes))
            wait_for_place(plan.actor_cpus, plan.actor.gpus, say)
            items = self._outputs.items
            for outcome in color_on_cluster(items, self._chosen, self._settings, plan):
                self._take(outcome)

    def write(self, finished: bool, about: Mapping[str, object]) -> None:
        """Write failed.csv and summary.json; raises ColorganError."""
        destination = self._outputs.destination
        destination.tidy([each for item in self._outputs.items for each in item.targets])
        if self.tally.write_failures(destination) and self.tally.failures:
            say(f"{printable(destination.location(FAILED))} lists what failed, and why")
        summary = self.tally.summary({**about, "finished": finished})
        destination.write(SUMMARY, summary, overwrite=True)

    def _take(self, outcome: Outcome) -> None:
        if outcome.existed and not self._settings.overwrite:
            self.tally.leave()
        else:
            self.tally.add(outcome)
        if outcome.failure and outcome.failure.full:
            raise ColorganError(
                f"{outcome.failure.sentence}; {self.tally.colored} are written, and the same "
                "command continues from there"
            )
        if outcome.failure and not outcome.existed and len(self.tally.failures) <= _ERRORS:
            say(f"error: {printable(outcome.failure.sentence)}")
        if time.monotonic() - self._said > _LINE_S:
            self._said = time.monotonic()
            say(self.tally.progress())
            self._report()

    def _report(self) -> None:
        done = self.tally.skipped + self.tally.done
        self._lease.report("photographs", done, self.tally.skipped + self.tally.total)

    def _check_places(self, nodes: int) -> None:
        """Say what every machine must see."""
        places = {self._settings.destination.uri}
        with suppress(IndexError):
            places.add(self._outputs.items[0].photo.address)
        local = [place for place in sorted(places) if is_file_address(place)]
        if nodes > 1 and local:
            say(f"note: every machine must see {printable(', '.join(local))}, or use s3://")


def place(uri: str) -> Destination:
    """Open the destination of a job; raises ColorganError."""
    return open_destination(absolute(uri))
