"""A survey in storage: its questions, and whether it is closed."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from colorgan.errors import ColorganError, NotInStorage
from colorgan.names import check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_all, read_document

SCHEMA_VERSION = 1
THREADS = 10  # for reading answers and looking for pictures; the S3 client has 10 connections

_ROOT = "surveys"


@dataclass(frozen=True)
class Question:
    """One photograph, and the models that coloured it.

    Attributes:
        photo: the photograph's id in the report.
        photo_class: the photograph's class.
        models: the contestants to choose from, as the report names them.
    """

    photo: str
    photo_class: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """A survey: its survey.json.

    Attributes:
        name: the survey's name, which is part of its address.
        created: time of creation, UTC, ISO 8601.
        report: the report whose pictures are shown.
        models: the models compared, in the order in which tables show them.
        seed: the seed of the choice of photographs.
        questions: the questions, in the order in which they are asked; the first is number 1.
        secret: the hexadecimal key that signs what participants get; they never get the key itself.
        closed: time of closing, UTC, ISO 8601; empty while answers are taken.
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
        """Read a survey.json; raises Corrupt if it is not one."""

        def build(fields: dict[str, Any]) -> "Survey":
            fields["models"] = tuple(fields["models"])
            fields["questions"] = tuple(
                Question(**{**each, "models": tuple(each["models"])})
                for each in fields["questions"]
            )
            bytes.fromhex(fields["secret"])
            return cls(**fields)

        return read_document(data, key, SCHEMA_VERSION, build)


def open_survey(storage: Storage, name: str) -> Survey:
    """A survey by its name; raises ConfigError, NotInStorage or Corrupt."""
    key = survey_key(check_name("survey", name))
    try:
        return Survey.from_json(storage.get(key), key)
    except NotInStorage:
        raise NotInStorage(
            f"no survey {name!r} in {storage.uri}: list the existing ones with colorgan survey list"
        ) from None


def list_surveys(
    storage: Storage, on_fault: Callable[[ColorganError], None] | None = None
) -> list[Survey]:
    """All surveys, the oldest first.

    Args:
        storage: the storage of the surveys.
        on_fault: called with the error of each survey that cannot be read; the others are listed.
            Without it, the first such error is raised.
    """
    names = [name for name in storage.folders(_ROOT) if storage.exists(survey_key(name))]
    surveys = read_all(names, lambda name: open_survey(storage, name), on_fault)
    return sorted(surveys, key=lambda each: str(each.created))


def close_survey(storage: Storage, name: str) -> Survey:
    """Stop taking answers; a closed survey stays as it is. Raises as open_survey."""
    survey = open_survey(storage, name)
    if not survey.closed:
        survey = replace(survey, closed=now())
        storage.put(survey_key(name), survey.to_json())
    return survey


def survey_key(name: str) -> str:
    """The key of a survey's survey.json."""
    return f"{_ROOT}/{name}/survey.json"


def answers_folder(name: str) -> str:
    """The folder of the answers to a survey."""
    return f"{_ROOT}/{name}/answers"


def now() -> str:
    """The current time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
