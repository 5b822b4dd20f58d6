"""The answers to a survey, each stored as an object of its own."""

import json
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import pandas as pd

from colorgan.errors import ColorganError, ConfigError
from colorgan.storage import Storage
from colorgan.storage.documents import read_document
from colorgan.survey.documents import SCHEMA_VERSION, THREADS, Survey, answers_folder, now

CANNOT_TELL = ""  # the model of an answer that prefers none

_PARTICIPANT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Answer:
    """A participant's choice.

    Attributes:
        participant: 32 hexadecimal digits, which the participant's browser holds.
        question: the question's number, from 1.
        model: the model whose picture was chosen; CANNOT_TELL if the participant prefers none.
        answered: time of the answer, UTC, ISO 8601.
    """

    participant: str
    question: int
    model: str
    answered: str


def new_participant() -> str:
    """A new participant's token, which nobody can guess."""
    return secrets.token_hex(16)


def is_participant(text: str) -> bool:
    """Whether a text has the form of a token of `new_participant`."""
    return bool(_PARTICIPANT.fullmatch(text))


def record_answer(
    storage: Storage,
    survey: Survey,
    participant: str,
    question: int,
    model: str,
    token: str = "",
    replaces: bool = False,
) -> bool:
    """Store a participant's answer, unless there is one already: the first answer counts.

    Of simultaneous answers exactly one is the first, whatever processes take them. An answer that
    replaces another one, because the participant has gone back, always counts. When this returns,
    the answer is on the disk or in the bucket.

    Args:
        storage: the storage of the survey.
        survey: the survey, as it is now.
        participant: a token of `new_participant`.
        question: the question's number, from 1.
        model: the model whose picture was chosen, or CANNOT_TELL.
        token: identifies this answer if it is sent again, as after a response that was lost;
            without it, an answer that is sent again is another answer.
        replaces: whether the answer replaces the participant's earlier one.

    Returns:
        Whether this answer is the one that counts.

    Raises:
        ConfigError: the survey has no such question or model, or the participant is not a token.
        ColorganError: the survey is closed, or storage does not take the answer.
    """
    if survey.closed:
        raise ColorganError(f"survey {survey.name} has been closed since {survey.closed}")
    if not is_participant(participant):
        raise ConfigError("a participant is 32 hexadecimal digits")
    if not 1 <= question <= len(survey.questions):
        raise ConfigError(f"survey {survey.name} has the questions 1 to {len(survey.questions)}")
    asked = survey.questions[question - 1]
    if model not in (*asked.models, CANNOT_TELL):
        raise ConfigError(f"question {question} is on {', '.join(asked.models)}, not on {model!r}")
    key = f"{answers_folder(survey.name)}/{participant}/{question}.json"
    # Without a token the mark is random, so that no other answer can be taken for this one.
    mark = sha256((token or secrets.token_hex(16)).encode()).hexdigest()
    document = {
        "question": question,
        "photo": asked.photo,
        "model": model,
        "answered": now(),
        "mark": mark,
        "schema_version": SCHEMA_VERSION,
    }
    data = (json.dumps(document) + "\n").encode()
    if replaces:
        storage.put(key, data)
        return True
    if storage.create(key, data):
        return True
    first = read_document(storage.get(key), key, SCHEMA_VERSION, dict)
    return first.get("mark") == mark


def answered_questions(storage: Storage, survey: Survey, participant: str) -> set[int]:
    """The numbers of the questions that a participant has answered."""
    if not is_participant(participant):
        raise ConfigError("a participant is 32 hexadecimal digits")
    keys = storage.list(f"{answers_folder(survey.name)}/{participant}")
    return {_place(key)[1] for key in keys}


def read_answers(storage: Storage, survey: Survey) -> list[Answer]:
    """All answers, the oldest first; raises Corrupt if one cannot be read."""

    def read(key: str) -> Answer:
        participant, question = _place(key)
        return read_document(
            storage.get(key),
            key,
            SCHEMA_VERSION,
            lambda fields: Answer(participant, question, fields["model"], fields["answered"]),
        )

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(read, storage.list(answers_folder(survey.name))))
    return sorted(answers, key=lambda answer: (answer.answered, answer.participant))


def answers_table(survey: Survey, answers: Iterable[Answer]) -> pd.DataFrame:
    """A table with one line per answer: participant, question, photo, class, model, answered.

    Participants appear as hashes of their tokens, because a token lets its holder answer. The model
    of an answer that prefers none is empty.
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


def _place(key: str) -> tuple[str, int]:
    """The participant and the number of the question in an answer's key."""
    *_, participant, file = key.split("/")
    return participant, int(file.removesuffix(".json"))
