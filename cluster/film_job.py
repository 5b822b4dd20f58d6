"""The work of jobs/colorize.py on films."""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.archive_job import RAY_SETTINGS, absolute, name_of
from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import end_stopped, say, working_on
from cluster.waiting import wait_for_place
from colorgan.archives.destination import Folder
from colorgan.archives.networks import Chosen, choose_models
from colorgan.commands.coloring import given_models
from colorgan.commands.films import check_film_options, film_work, plan_films
from colorgan.commands.process import EXIT_FAULT
from colorgan.commands.text import printable
from colorgan.errors import ColorganError, ConfigError
from colorgan.files import check_outputs
from colorgan.storage import open_storage
from colorgan.storage.lease import Lease
from colorgan.training.progress import format_seconds

if TYPE_CHECKING:
    from colorgan.film.work import Parts, Work

_LINE_S = 10.0  # between lines of progress


def color_films(args: argparse.Namespace, found: Mapping[str, Sequence[Path]]) -> int:
    """Colour films, spread over the cluster; returns the exit status.

    Args:
        args: the options of jobs/colorize.py.
        found: the films of its source; see `find_films`.

    Raises:
        ConfigError: an option is for photographs alone, or an output cannot be written.
        ColorganError: there are no models, or the cluster cannot work.
    """
    check_film_options(args)
    if args.destination.startswith("s3://"):
        raise ConfigError(
            f"{args.destination}: films are written to a folder that every machine sees"
        )
    destination = Path(absolute(args.destination))
    folder, items = plan_films(f"{destination}/", found)
    check_outputs(
        [folder / item.target for item in items],
        [item.source for item in items],
        True,
        new_folders=True,
    )
    left = [item for item in items if args.overwrite or not (folder / item.target).exists()]
    say(
        printable(
            f"{len(items):,} films of {args.source} to {folder}; {len(items) - len(left):,} are "
            "there"
        )
    )
    if not left:
        return 0
    uri = storage_uri(args.storage)
    storage = open_storage(uri)
    chosen = choose_models(given_models(args), storage.uri)
    for note in filter(None, chosen.notes):
        say(f"note: {note}")
    name = args.name or name_of(Folder(folder))
    with working_on(storage, "archive", name) as lease, ExitStack() as held:
        from colorgan.film.work import Parts, identify

        jobs, failed = [], 0
        for item in left:
            try:
                work = film_work(args, item.source, folder / item.target)
                parts = Parts(work.output, identify(work.film, chosen, work.settings))
                held.enter_context(parts.opened())
            except ColorganError as error:
                failed += 1
                say(f"error: {printable(error)}")
                continue
            jobs.append((work, parts))
        try:
            failed += _FilmJob(args, lease).run(jobs, chosen) if jobs else 0
        except KeyboardInterrupt:
            end_stopped("--name", name)
    return EXIT_FAULT if failed else 0


class _FilmJob:
    """Colours films on the cluster, and says how far it is."""

    def __init__(self, args: argparse.Namespace, lease: Lease) -> None:
        self._args, self._lease = args, lease
        self._said = self._began = time.monotonic()
        self._done = self._kept = self._total = 0

    def run(self, films: Sequence[tuple["Work", "Parts"]], chosen: Chosen) -> int:
        """Colour films; returns the number of those that failed."""
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        args = self._args
        with connected(args.address):
            # They import Ray: see cluster.connection.
            from cluster.archives import plan_archive
            from cluster.films import FilmActors, Job
            from colorgan.film.work import finish

            plan = plan_archive(
                *(cluster_nodes(), args.device, args.gpus_per_actor),
                *(args.actors, args.batch_size, "actors"),
            )
            say(plan.sentence())
            wait_for_place(plan.actor_cpus, plan.actor.gpus, say)
            actors = FilmActors(chosen, plan)
            jobs = [Job(*film) for film in films]
            errors: dict[int, str] = {}
            planned = []
            for place, found in actors.plans(jobs):
                if isinstance(found, str):
                    errors[place] = found
                else:
                    parts = jobs[place].parts
                    todo = [each for each in found.segments if not parts.has(each.number)]
                    planned.append((place, found, todo))
                    self._total += len(found.times)
                    self._kept += len(found.times) - sum(s.end - s.first for s in todo)
            self._done = self._kept
            self._began = time.monotonic()
            for place, done in actors.color(jobs, planned):
                if isinstance(done, str):
                    errors.setdefault(place, done)
                else:
                    self._take(done)
            for place, found, _ in planned:
                if place in errors:
                    continue
                work, parts = jobs[place].work, jobs[place].parts
                finish(work, found, parts)
                say(f"{printable(work.output)}: {len(found.times):,} frames")
        for error in errors.values():
            say(f"error: {printable(error)}")
        say(self._words())
        return len(errors)

    def _take(self, frames: int) -> None:
        self._done += frames
        if time.monotonic() - self._said > _LINE_S:
            self._said = time.monotonic()
            say(self._words())
            self._lease.report("frames", self._done, self._total)

    def _words(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = (self._done - self._kept) / seconds
        words = f"{self._done:,} of {self._total:,} frames, {rate:.1f} a second"
        if rate and self._done < self._total:
            words += f", {format_seconds((self._total - self._done) / rate)} to go"
        return words
