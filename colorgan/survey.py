"""The survey: people say which colouring of a photograph looks most natural.

surveys/<survey>/survey.json                             what is asked, and whether it is closed
surveys/<survey>/answers/<participant>/<question>.json   one answer of one participant

An answer is an object of its own, so answers are neither lost nor counted twice, however many
processes take them.
"""

import json
import random
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.evaluation.results import ASSEMBLED, Report
from colorgan.names import GENERAL, check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_all, read_document

SCHEMA_VERSION = 1
MODELS = (ASSEMBLED, GENERAL, "hypercolumn")  # that are compared where a report has them
MAX_QUESTIONS = 200
MAX_MODELS = 9  # a digit of the keyboard chooses each
CONFIDENCE = 0.95

_ROOT = "surveys"
_PARTICIPANT = re.compile(r"[0-9a-f]{32}")
_THREADS = 10  # that read answers; S3 takes as many connections at once


@dataclass(frozen=True)
class Question:
    """One photograph, and who coloured it.

    Attributes:
        photo: its id in the report.
        photo_class: its class.
        models: the contestants to choose from, as the report names them.
    """

    photo: str
    photo_class: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What is asked: a survey's survey.json.

    Attributes:
        name: the survey's, and its address.
        created: UTC, ISO 8601.
        report: whose pictures are shown.
        models: that are compared, in the order in which tables show them.
        seed: that chose the photographs.
        questions: in the order in which they are asked; the first is number 1.
        secret: hexadecimal; signs what participants are given, and is never given to them.
        closed: UTC, ISO 8601; empty while answers are taken.
    """

    name: str
    created: str
    report: str
    models: tuple[str, ...]
    seed: int
    questions: tuple[Question, ...]
    secret: str = field(repr=False)
    closed: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """The contents of survey.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Survey":
        """Read a survey.json; raises Corrupt where it is not one."""

        def build(fields: dict[str, Any]) -> "Survey":
            fields["models"] = tuple(fields["models"])
            fields["questions"] = tuple(
                Question(**{**each, "models": tuple(each["models"])})
                for each in fields["questions"]
            )
            bytes.fromhex(fields["secret"])
            return cls(**fields)

        return read_document(data, key, SCHEMA_VERSION, build)


@dataclass(frozen=True)
class Answer:
    """A participant's choice.

    Attributes:
        participant: 32 hexadecimal digits, which the participant's browser holds.
        question: its number, from 1.
        model: whose picture was chosen.
        answered: UTC, ISO 8601.
    """

    participant: str
    question: int
    model: str
    answered: str


@dataclass(frozen=True)
class Tally:
    """What came of a survey.

    A *vote* is one participant's answer to one question. `low` and `high` bound the `share` of the
    votes with 95 % confidence (Wilson), as if all votes were independent of each other. A question
    is *won* by the model with the most votes and *lost* by that with the fewest; on a tie it counts
    for each of the tied, and `won_tied` and `lost_tied` say how many of the questions are such. A
    question without votes is neither won nor lost.

    Attributes:
        participants: who answered at least once.
        votes: of all.
        questions: a line a question and model: question, photo, class, model, votes, share, low,
            high, won, lost, won_tied, lost_tied (the report's figure 10).
        models: a line a model: model, questions, votes, share, low, high, mean and sd (of the
            votes a question; the sample's SD), won, lost, won_tied, lost_tied (its table 1).
        classes: the same by class: class, model, … (its table 2).
    """

    participants: int
    votes: int
    questions: pd.DataFrame
    models: pd.DataFrame
    classes: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON; what cannot be computed is None."""
        return {
            "participants": self.participants,
            "votes": self.votes,
            "models": _records(self.models),
            "classes": _records(self.classes),
            "questions": _records(self.questions),
        }


def create_survey(
    report: Report,
    questions: int,
    seed: int = 0,
    models: Sequence[str] = (),
    left_out: Collection[str] = (),
    name: str | None = None,
) -> Survey:
    """Choose photographs of a report, as many of each class, and store the survey.

    Args:
        report: finished, with the pictures of all models.
        questions: how many; where the classes don't divide it, some have one more.
        seed: of the choice and of the questions' order.
        models: to compare; without, those of MODELS that the report has.
        left_out: ids or sources of photographs that must not be asked.
        name: of the survey; without, it gets one that nobody guesses.

    Raises:
        ConfigError: an argument cannot be used, or there are too few photographs for it.
        NotInStorage: the report is not finished, or a picture is missing.
    """
    storage = report.storage
    name = secrets.token_hex(8) if name is None else check_name("survey", name)
    if storage.exists(_key(name)):
        raise _exists_already(name)
    if not 1 <= questions <= MAX_QUESTIONS:
        raise ConfigError(f"--questions must be from 1 to {MAX_QUESTIONS}")
    chosen_models = _choose_models(report, models)
    photographs = _photographs(report, chosen_models)
    asked = ~(photographs["photo"].isin(left_out) | photographs["source"].isin(left_out))
    chosen = _choose(
        photographs[asked], sorted(report.evaluation.classes), questions, random.Random(seed)
    )
    survey = Survey(
        name=name,
        created=_now(),
        report=report.evaluation.name,
        models=chosen_models,
        seed=seed,
        questions=tuple(Question(photo, label, chosen_models) for photo, label in chosen),
        secret=secrets.token_hex(32),
    )
    _check_pictures(report, survey)
    if not storage.create(_key(name), survey.to_json()):
        raise _exists_already(name)
    return survey


def _exists_already(name: str) -> ConfigError:
    return ConfigError(f"there is a survey {name!r} already: choose another --survey")


def open_survey(storage: Storage, name: str) -> Survey:
    """A survey by its name; raises ConfigError, NotInStorage or Corrupt."""
    key = _key(check_name("survey", name))
    try:
        return Survey.from_json(storage.get(key), key)
    except NotInStorage:
        raise NotInStorage(
            f"no survey {name!r} in {storage.uri}: colorgan survey list shows those that there are"
        ) from None


def list_surveys(
    storage: Storage, on_fault: Callable[[ColorganError], None] | None = None
) -> list[Survey]:
    """All surveys, the oldest first.

    Args:
        storage: where they are.
        on_fault: is told why a survey cannot be read; the others are listed all the same. Without,
            the first such error is raised.
    """
    names = [name for name in storage.folders(_ROOT) if storage.exists(_key(name))]
    surveys = read_all(names, lambda name: open_survey(storage, name), on_fault)
    return sorted(surveys, key=lambda each: str(each.created))


def close_survey(storage: Storage, name: str) -> Survey:
    """Take no more answers; a survey that is closed stays as it is. Raises as open_survey."""
    survey = open_survey(storage, name)
    if not survey.closed:
        survey = replace(survey, closed=_now())
        storage.put(_key(name), survey.to_json())
    return survey


def new_participant() -> str:
    """A participant whom nobody can guess."""
    return secrets.token_hex(16)


def is_participant(text: str) -> bool:
    """Whether a text has the form that `new_participant` gives."""
    return bool(_PARTICIPANT.fullmatch(text))


def record_answer(
    storage: Storage,
    survey: Survey,
    participant: str,
    question: int,
    model: str,
    token: str = "",
) -> bool:
    """Store a participant's answer, unless there is one: the first counts.

    Of answers at the same time one is the first, whatever processes take them. When this returns,
    the answer is on the disk, or in the bucket.

    Args:
        storage: where the survey is.
        survey: as it is now.
        participant: as `new_participant` gives.
        question: its number, from 1.
        model: whose picture was chosen.
        token: by which this answer is known if it is sent again, as where the network has swallowed
            what it was told; without, it is another answer.

    Returns:
        Whether this answer is the one that counts.

    Raises:
        ConfigError: the survey has no such question, model, or form of participant.
        ColorganError: the survey is closed, or storage does not take the answer.
    """
    if survey.closed:
        raise ColorganError(f"survey {survey.name} has been closed since {survey.closed}")
    if not is_participant(participant):
        raise ConfigError("a participant is 32 hexadecimal digits")
    if not 1 <= question <= len(survey.questions):
        raise ConfigError(f"survey {survey.name} has the questions 1 to {len(survey.questions)}")
    asked = survey.questions[question - 1]
    if model not in asked.models:
        raise ConfigError(f"question {question} is on {', '.join(asked.models)}, not on {model!r}")
    key = f"{_answers(survey.name)}/{participant}/{question}.json"
    # Its own, so that nobody else's answer can be taken for it.
    mark = sha256((token or secrets.token_hex(16)).encode()).hexdigest()
    document = {
        "question": question,
        "photo": asked.photo,
        "model": model,
        "answered": _now(),
        "mark": mark,
        "schema_version": SCHEMA_VERSION,
    }
    if storage.create(key, (json.dumps(document) + "\n").encode()):
        return True
    first = read_document(storage.get(key), key, SCHEMA_VERSION, dict)
    return first.get("mark") == mark


def answered_questions(storage: Storage, survey: Survey, participant: str) -> set[int]:
    """The numbers of the questions that a participant has answered."""
    if not is_participant(participant):
        raise ConfigError("a participant is 32 hexadecimal digits")
    keys = storage.list(f"{_answers(survey.name)}/{participant}")
    return {_place(key)[1] for key in keys}


def read_answers(storage: Storage, survey: Survey) -> list[Answer]:
    """All answers, the oldest first; raises Corrupt where one cannot be read."""

    def read(key: str) -> Answer:
        participant, question = _place(key)
        return read_document(
            storage.get(key),
            key,
            SCHEMA_VERSION,
            lambda fields: Answer(participant, question, fields["model"], fields["answered"]),
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(read, storage.list(_answers(survey.name))))
    return sorted(answers, key=lambda answer: (answer.answered, answer.participant))


def answers_table(survey: Survey, answers: Iterable[Answer]) -> pd.DataFrame:
    """A line an answer: participant, question, photo, class, model, answered.

    The participants' names are made from those that their browsers hold, which let their holder
    answer, and cannot be turned back.
    """
    rows = [
        (
            sha256(answer.participant.encode()).hexdigest()[:12],
            answer.question,
            survey.questions[answer.question - 1].photo,
            survey.questions[answer.question - 1].photo_class,
            answer.model,
            answer.answered,
        )
        for answer in answers
    ]
    columns = ["participant", "question", "photo", "class", "model", "answered"]
    return pd.DataFrame(rows, columns=columns)


def tally(survey: Survey, answers: Sequence[Answer]) -> Tally:
    """Count the votes; see Tally for what is counted how."""
    counts = Counter((answer.question, answer.model) for answer in answers)
    table = pd.DataFrame(
        [
            (number, question.photo, question.photo_class, model, counts[number, model])
            for number, question in enumerate(survey.questions, 1)
            for model in question.models
        ],
        columns=["question", "photo", "class", "model", "votes"],
    )
    votes = table.groupby("question")["votes"]
    table = _with_shares(table, votes.transform("sum"))
    for column, best in (("won", "max"), ("lost", "min")):
        table[column] = (votes.transform("sum") > 0) & (table["votes"] == votes.transform(best))
    for column in ("won", "lost"):
        alike = table.groupby("question")[column].transform("sum")
        table[f"{column}_tied"] = table[column] & (alike > 1)
    return Tally(
        participants=len({answer.participant for answer in answers}),
        votes=int(table["votes"].sum()),
        questions=table,
        models=_summary(table, []).drop(columns="all"),
        classes=_summary(table.sort_values("class", kind="stable"), ["class"]),
    )


def survey_frames(report: Report) -> dict[str, pd.DataFrame]:
    """What people have answered by now about a report's pictures, by the titles of the tables."""
    frames = {}
    for survey in list_surveys(report.storage):
        if survey.report != report.evaluation.name:
            continue
        counted = tally(survey, read_answers(report.storage, survey))
        if counted.votes:
            people = f"{counted.participants} participant{'s' * (counted.participants != 1)}"
            title = f"Survey {survey.name}, {people}"
            frames[f"{title}: all photographs (the report's table 1)"] = counted.models
            frames[f"{title}: by class (its table 2)"] = counted.classes
            frames[f"{title}: each question (its figure 10)"] = counted.questions
    return frames


def _summary(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Votes, wins and losses of each model in each group of questions."""
    groups = by or ["all"]
    summed = (
        table.assign(all=0)
        .groupby([*groups, "model"], sort=False)
        .agg(
            questions=("votes", "size"),
            votes=("votes", "sum"),
            mean=("votes", "mean"),
            sd=("votes", "std"),
            won=("won", "sum"),
            lost=("lost", "sum"),
            won_tied=("won_tied", "sum"),
            lost_tied=("lost_tied", "sum"),
        )
        .reset_index()
    )
    summed = _with_shares(summed, summed.groupby(groups)["votes"].transform("sum"))
    counted = ["questions", "votes", "share", "low", "high", "mean", "sd"]
    return summed[[*groups, "model", *counted, "won", "lost", "won_tied", "lost_tied"]]


def _with_shares(table: pd.DataFrame, totals: Iterable[int]) -> pd.DataFrame:
    """A table of `votes` with their share of the totals, and the bounds of that."""
    shares = [_share(votes, total) for votes, total in zip(table["votes"], totals, strict=True)]
    share, low, high = zip(*shares, strict=True)
    return table.assign(share=share, low=low, high=high)


def _share(votes: int, total: int) -> tuple[float, float, float]:
    if not total:
        return float("nan"), float("nan"), float("nan")
    interval = binomtest(int(votes), int(total)).proportion_ci(CONFIDENCE, method="wilson")
    return votes / total, float(interval.low), float(interval.high)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


def _choose_models(report: Report, models: Sequence[str]) -> tuple[str, ...]:
    there = [contestant.name for contestant in report.evaluation.contestants]
    name = report.evaluation.name
    if not models:
        models = [model for model in MODELS if model in there]
        if len(models) < 2:
            raise ConfigError(
                f"report {name} has fewer than two of {', '.join(MODELS)}: name what to compare "
                f"as --models, of {', '.join(there)}"
            )
    unknown = [model for model in models if model not in there]
    if unknown:
        raise ConfigError(
            f"report {name} does not compare {', '.join(unknown)}: it has {', '.join(there)}"
        )
    if not 2 <= len(set(models)) == len(models) <= MAX_MODELS:
        raise ConfigError(f"--models wants from two to {MAX_MODELS} models, each of them once")
    return tuple(models)


def _photographs(report: Report, models: Sequence[str]) -> pd.DataFrame:
    """The photographs that all the models have coloured: photo, source, class."""
    results = report.results()
    results = results[results["model"].isin(models)]
    complete = results.groupby("photo")["model"].transform("nunique") == len(models)
    return results[complete].drop_duplicates("photo").sort_values("photo")


def _choose(
    photographs: pd.DataFrame, classes: Sequence[str], questions: int, rng: random.Random
) -> list[tuple[str, str]]:
    """Ids and classes of photographs, balanced over the classes, in a random order."""
    there = {
        label: photographs.loc[photographs["class"] == label, "photo"].tolist() for label in classes
    }
    each, more = divmod(questions, len(classes))
    ample = [label for label in classes if len(there[label]) > each]
    scarce = min(classes, key=lambda label: len(there[label]))
    if len(there[scarce]) < each or len(ample) < more:
        raise ConfigError(
            f"{questions} questions want {each + (len(ample) < more)} photographs of {scarce}, and "
            f"the report has {len(there[scarce])} that are not left out: ask for fewer --questions"
        )
    with_more = rng.sample(ample, more)
    chosen = [
        (photo, label)
        for label in classes
        for photo in rng.sample(there[label], each + (label in with_more))
    ]
    rng.shuffle(chosen)
    return chosen


def _check_pictures(report: Report, survey: Survey) -> None:
    keys = [
        report.picture_key(question.photo, model)
        for question in survey.questions
        for model in question.models
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        there = list(pool.map(report.storage.exists, keys))
    if not all(there):
        missing = keys[there.index(False)]
        raise NotInStorage(
            f"{missing} is not in {report.storage.uri}: python jobs/evaluate.py --report "
            f"{survey.report} makes the report's pictures"
        )


def _key(name: str) -> str:
    return f"{_ROOT}/{name}/survey.json"


def _answers(name: str) -> str:
    return f"{_ROOT}/{name}/answers"


def _place(key: str) -> tuple[str, int]:
    """The participant and the question of an answer's key."""
    *_, participant, file = key.split("/")
    return participant, int(file.removesuffix(".json"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
