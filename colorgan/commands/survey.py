"""The commands `colorgan survey create`, `close`, `results`, `export` and `list`."""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.text import print_errors, print_table, printable
from colorgan.errors import ColorganError, ConfigError
from colorgan.evaluation.results import open_report
from colorgan.files import check_outputs, write_file
from colorgan.storage import open_storage
from colorgan.survey import (
    CONFIDENCE,
    MODELS,
    Survey,
    Tally,
    answers_table,
    close_survey,
    create_survey,
    list_surveys,
    open_survey,
    read_answers,
    tally,
)


def prepare_survey(parser: argparse.ArgumentParser) -> None:
    """Add the commands of `colorgan survey` and their options."""
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str, help: str, command: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=help, description=help.capitalize() + ".")
        # A default of None would overwrite a --storage given before the command's name.
        add_storage_option(action, default=argparse.SUPPRESS)
        action.set_defaults(command=command)
        return action

    create = add("create", "choose photographs of a report to ask people about", _create)
    create.add_argument(
        "--report", metavar="NAME", required=True, help="report whose pictures to show"
    )
    create.add_argument(
        "--questions",
        type=int,
        default=18,
        metavar="N",
        help="photographs, balanced over the classes (default: %(default)s)",
    )
    create.add_argument(
        "--seed", type=int, default=0, help="seed of the choice (default: %(default)s)"
    )
    create.add_argument(
        "--leave-out",
        type=Path,
        metavar="FILE",
        help="ids or sources of photographs not to ask about, one per line",
    )
    create.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help=f"models to compare (default: those of {', '.join(MODELS)} that the report has)",
    )
    create.add_argument(
        "--survey",
        metavar="NAME",
        help="name of the survey, part of its address (default: a random one)",
    )
    close = add("close", "take no more answers to a survey", _close)
    results = add("results", "count the votes of a survey", _results)
    results.add_argument("--json", action="store_true", help="print them as JSON")
    export = add("export", "write the answers to a survey as CSV", _export)
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: print them)")
    export.add_argument("--overwrite", action="store_true", help="replace FILE where it exists")
    for action in (close, results, export):
        action.add_argument("survey", metavar="SURVEY", help="its name")
    listed = add("list", "list the surveys in storage", _list)
    listed.add_argument("--json", action="store_true", help="print them as JSON")


def _create(args: argparse.Namespace) -> int:
    left_out = _read_list(args.leave_out) if args.leave_out else frozenset()
    report = open_report(open_storage(args.storage), args.report)
    survey = create_survey(
        report, args.questions, args.seed, tuple(args.models), left_out, args.survey
    )
    counts = Counter(question.photo_class for question in survey.questions)
    shares = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    print(
        f"survey {survey.name}: {_counted(len(survey.questions), 'question')} ({shares}) on "
        f"{', '.join(survey.models)}, seed {survey.seed}"
    )
    print(f"/survey/{survey.name}")
    return 0


def _read_list(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"--leave-out {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--leave-out {path}: it is not a text file") from None
    return frozenset(line.strip() for line in lines if line.strip())


def _close(args: argparse.Namespace) -> int:
    survey = close_survey(open_storage(args.storage), args.survey)
    print(f"survey {survey.name} has been closed since {survey.closed}")
    return 0


def _results(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    survey = open_survey(storage, args.survey)
    counted = tally(survey, read_answers(storage, survey))
    if args.json:
        print(json.dumps({**_described(survey), **counted.to_dict()}))
        return 0
    print(
        f"survey {survey.name} on report {survey.report}: "
        f"{_counted(counted.participants, 'participant')}, {_counted(counted.votes, 'vote')}, "
        + (f"{_counted(counted.undecided, 'undecided answer')}, " if counted.undecided else "")
        + f"{_counted(len(survey.questions), 'question')}, {_state(survey)}\n"
    )
    for title, table in (
        ("table 1: all questions", counted.models),
        ("table 2: by class", counted.classes),
    ):
        print(title)
        _print_counts(table)
        print()
    _print_notes(counted)
    return 0


def _print_counts(table: pd.DataFrame) -> None:
    labels = [name for name in ("class", "model") if name in table]
    headings = (
        *labels,
        *("questions", "votes", "share", f"{CONFIDENCE:.0%} interval"),
        *("mean", "sd", "won", "lost"),
    )
    rows = [
        (
            *(str(row[name]) for name in labels),
            *(str(row["questions"]), str(row["votes"]), _number(row["share"], ".1%")),
            f"{_number(row['low'], '.1%')} to {_number(row['high'], '.1%')}",
            *(_number(row["mean"], ".2f"), _number(row["sd"], ".2f")),
            *(str(row["won"]), str(row["lost"])),
        )
        for row in table.to_dict("records")
    ]
    print_table(headings, rows)


def _print_notes(counted: Tally) -> None:
    ties = counted.questions.groupby("question")[["won_tied", "lost_tied"]].any().sum()
    print(
        "mean and sd: votes a question; won: most votes, lost: fewest. A tie counts for each of "
        f"the tied: {_counted(ties['won_tied'], 'question')} on most, "
        f"{_counted(ties['lost_tied'], 'question')} on fewest votes."
        + (" An undecided answer is no vote." if counted.undecided else "")
    )


def _number(value: float, format: str) -> str:
    return "-" if pd.isna(value) else f"{value:{format}}"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _export(args: argparse.Namespace) -> int:
    if args.output:
        check_outputs([args.output], overwrite=args.overwrite)
    storage = open_storage(args.storage)
    survey = open_survey(storage, args.survey)
    table = answers_table(survey, read_answers(storage, survey))
    text = table.to_csv(index=False)
    if args.output is None:
        print(text, end="")
        return 0
    write_file(args.output, text.encode(), args.overwrite)
    print(f"{_counted(len(table), 'answer')} are in {printable(args.output)}")
    return 0


def _list(args: argparse.Namespace) -> int:
    faults: list[ColorganError] = []
    surveys = list_surveys(open_storage(args.storage), faults.append)
    if args.json:
        print(json.dumps([_described(survey) for survey in surveys]))
    else:
        rows = [
            (
                survey.name,
                str(survey.created),
                str(survey.report),
                str(len(survey.questions)),
                ", ".join(map(str, survey.models)),
                _state(survey),
            )
            for survey in surveys
        ]
        print_table(("survey", "created", "report", "questions", "models", "state"), rows)
    print_errors(faults)
    return EXIT_FAULT if faults else 0


def _described(survey: Survey) -> dict[str, object]:
    return {
        "survey": survey.name,
        "report": survey.report,
        "created": survey.created,
        "closed": survey.closed or None,
    }


def _state(survey: Survey) -> str:
    return f"closed since {survey.closed}" if survey.closed else "open"
