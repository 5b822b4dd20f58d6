"""Colour an archive of photographs, spread over the cluster by Ray Data.

    python jobs/colorize.py SOURCE DESTINATION
    ray job submit -- python jobs/colorize.py s3://bucket/photographs s3://bucket/coloured

The tree and the names are kept. Submitted again, the job continues where it was interrupted.
"""

import argparse
import sys
from collections.abc import Sequence

from cluster.archive_job import ArchiveJob, absolute, find_photos, name_of, place
from cluster.connection import storage_uri
from cluster.film_job import color_films
from cluster.job import add_address_option, check_at_least, end_stopped, run_job, say, working_on
from colorgan.archives.networks import choose_models
from colorgan.archives.reading import Reader
from colorgan.archives.steps import Settings
from colorgan.archives.targets import choose_targets
from colorgan.commands.choices import add_choices, read_choices
from colorgan.commands.coloring import add_models, given_models
from colorgan.commands.pictures import (
    add_page,
    add_recursive,
    add_writing,
    check_page,
    given_options,
    plan,
)
from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.text import printable
from colorgan.film.kinds import find_films
from colorgan.models.noise import FIRST
from colorgan.storage import open_storage


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status."""
    return run_job(_parser(), _run, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colorize.py", description="Colour an archive of photographs, by Ray Data."
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, s3://bucket/prefix, dataset:NAME, or @FILE for a list of files; or a film "
        "or a folder of films",
    )
    parser.add_argument("destination", metavar="DESTINATION", help="a folder or s3://bucket/prefix")
    add_storage_option(parser)
    parser.add_argument(
        "--name", help="name of the job in colorgan jobs (default: made of the destination's)"
    )
    add_recursive(parser, default=True)
    add_page(parser)
    add_writing(parser)
    add_models(parser)
    add_choices(parser)
    add_address_option(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--actors",
        type=int,
        metavar="N",
        help="number of processes with the models (default: as many as fit on the GPUs, or one per "
        "CPU)",
    )
    parser.add_argument(
        "--gpus-per-actor",
        type=float,
        default=1.0,
        metavar="N",
        help="GPUs for each of them, or the share of one (default: %(default)g)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="photographs at once (default: 32 on a GPU, 8 on a CPU)",
    )
    parser.add_argument(
        "--read-by",
        choices=("auto", "actors", "tasks"),
        default="auto",
        help="who reads and writes: the actors themselves, or tasks on any CPU (default: tasks if "
        "the models are on GPUs)",
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(1, args, "actors", "batch_size")
    check_page(args.page)
    films = find_films([absolute(args.source)], args.recursive)
    if films:
        return color_films(args, films)
    choice = given_models(args)
    # What is written is whole, so a job that is submitted again need not say that it continues.
    args.skip_existing = not args.overwrite
    uri = storage_uri(args.storage)
    storage, destination = open_storage(uri), place(args.destination)
    chosen = choose_models(choice, storage.uri)
    for note in filter(None, chosen.notes):
        say(f"note: {note}")
    with working_on(storage, "archive", args.name or name_of(destination)) as lease:
        photos = find_photos(args.source, args.recursive, destination.uri, storage)
        options = given_options(args)
        outputs = plan(photos, choose_targets(photos, options.suffix), destination, options, args)
        say(
            printable(
                f"{len(photos):,} photographs of {args.source} to {destination.uri}; "
                f"{outputs.skipped:,} are there"
            )
        )
        choices = read_choices(args, len(photos))
        settings = Settings(
            *(Reader(storage.uri), destination, options, choices),
            *(args.page, args.overwrite, args.keep_times),
        )
        if any(item.numbers != FIRST for item in outputs.items):
            chosen.check_noise()
        job = ArchiveJob(outputs, chosen, settings, lease)
        about = {
            "source": printable(args.source),
            "destination": printable(destination.uri),
            "models": sorted(card.reference for card in chosen.cards.values()),
        }
        try:
            if outputs.items:
                job.run(args)
        except KeyboardInterrupt:
            job.write(False, about)
            say(job.tally.sentence())
            end_stopped("--name", args.name or name_of(destination))
        job.write(True, about)
        say(job.tally.sentence())
    return EXIT_FAULT if job.tally.repeatable else 0


if __name__ == "__main__":
    sys.exit(main())
