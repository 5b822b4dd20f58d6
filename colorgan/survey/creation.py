"""Creating a survey: the choice of the photographs of a report that it asks about."""

import random
import secrets
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.results import ASSEMBLED, Report
from colorgan.names import OF_ALL_CLASSES, check_name
from colorgan.survey.documents import THREADS, Question, Survey, now, survey_key

MODELS = (ASSEMBLED, *OF_ALL_CLASSES)  # compared by default, if a report has them
MAX_QUESTIONS = 200
MAX_MODELS = 9  # each is chosen by a digit of the keyboard


def create_survey(
    report: Report,
    questions: int,
    seed: int = 0,
    models: Sequence[str] = (),
    left_out: Collection[str] = (),
    name: str | None = None,
) -> Survey:
    """Choose photographs of a report, balanced across classes, and store the survey.

    Args:
        report: a finished report, with the pictures of all models.
        questions: number of questions; if the classes do not divide it, some have one more.
        seed: seed of the choice and of the questions' order.
        models: the models to compare; by default those of MODELS that the report has.
        left_out: ids or sources of photographs that must not be asked about.
        name: the survey's name; by default one that nobody can guess.

    Raises:
        ConfigError: an argument is invalid, or there are too few photographs for it.
        NotInStorage: the report is not finished, or a picture is missing.
    """
    storage = report.storage
    name = secrets.token_hex(8) if name is None else check_name("survey", name)
    if storage.exists(survey_key(name)):
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
        created=now(),
        report=report.evaluation.name,
        models=chosen_models,
        seed=seed,
        questions=tuple(Question(photo, label, chosen_models) for photo, label in chosen),
        secret=secrets.token_hex(32),
    )
    _check_pictures(report, survey)
    if not storage.create(survey_key(name), survey.to_json()):
        raise _exists_already(name)
    return survey


def _exists_already(name: str) -> ConfigError:
    return ConfigError(f"there is a survey {name!r} already: choose another --survey")


def _choose_models(report: Report, models: Sequence[str]) -> tuple[str, ...]:
    there = [contestant.name for contestant in report.evaluation.contestants]
    name = report.evaluation.name
    if not models:
        models = [model for model in MODELS if model in there]
        if len(models) < 2:
            raise ConfigError(
                f"report {name} has fewer than two of {', '.join(MODELS)}: choose "
                f"what to compare with --models, from {', '.join(there)}"
            )
    unknown = [model for model in models if model not in there]
    if unknown:
        raise ConfigError(
            f"report {name} does not compare {', '.join(unknown)}: it has {', '.join(there)}"
        )
    if not 2 <= len(set(models)) == len(models) <= MAX_MODELS:
        raise ConfigError(f"--models needs two to {MAX_MODELS} models, each of them once")
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
    """Choose ids and classes of photographs, balanced across classes and in a random order."""
    there = {
        label: photographs.loc[photographs["class"] == label, "photo"].tolist() for label in classes
    }
    each, more = divmod(questions, len(classes))
    ample = [label for label in classes if len(there[label]) > each]
    scarce = min(classes, key=lambda label: len(there[label]))
    if len(there[scarce]) < each or len(ample) < more:
        raise ConfigError(
            f"{questions} questions need {each + (len(ample) < more)} photographs of {scarce}, but "
            f"the report has only {len(there[scarce])} to choose from: lower --questions"
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
    with ThreadPoolExecutor(THREADS) as pool:
        there = list(pool.map(report.storage.exists, keys))
    if not all(there):
        missing = keys[there.index(False)]
        raise NotInStorage(
            f"{missing} is not in {report.storage.uri}: python jobs/evaluate.py --report "
            f"{survey.report} makes the report's pictures"
        )
