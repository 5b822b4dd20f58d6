from collections import Counter

import pytest

from colorgan.errors import ConfigError
from colorgan.evaluation.results import Report, open_report
from colorgan.storage import open_storage
from colorgan.survey import (
    create_survey,
    open_survey,
)
from tests.races import race
from tests.survey.reports import CLASSES, MODELS


@pytest.mark.parametrize(("questions", "counts"), [(18, [6, 6, 6]), (7, [2, 2, 3]), (2, [0, 1, 1])])
def test_photographs_are_balanced_over_the_classes(
    report: Report, questions: int, counts: list[int]
) -> None:
    survey = create_survey(report, questions)
    by_class = Counter(question.photo_class for question in survey.questions)
    assert sorted(by_class[label] for label in CLASSES) == counts
    assert len({question.photo for question in survey.questions}) == questions
    assert all(question.photo[:2] == question.photo_class[:2] for question in survey.questions)
    assert open_survey(report.storage, survey.name) == survey
    assert survey.models == MODELS


def test_the_seed_decides_photographs_and_order(report: Report) -> None:
    first, again, other = (create_survey(report, 6, seed) for seed in (1, 1, 2))
    assert first.questions == again.questions != other.questions
    assert len({first.name, again.name, other.name}) == 3
    assert len({first.secret, again.secret, other.secret}) == 3
    assert first.secret not in repr(first)


def test_what_is_left_out_is_not_asked(report: Report) -> None:
    left_out = {"an0000", "an0001", "people/0.jpg", "people/1.jpg"}
    survey = create_survey(report, 19, left_out=left_out, models=("original", "assembled"))
    photos = {question.photo for question in survey.questions}
    assert not photos & {"an0000", "an0001", "pe0000", "pe0001"}
    assert len(photos) == 19, "the class that has most gives one more"
    assert survey.models == ("original", "assembled")
    with pytest.raises(
        ConfigError, match="need 7 photographs of animals, but the report has only 6 "
    ):
        create_survey(report, 20, left_out=left_out)


def test_a_photograph_that_a_model_has_not_coloured_is_not_asked(report: Report) -> None:
    results = report.results()
    lost = (results["photo"] == "ve0003") & (results["model"] == "general")
    report.storage.put(report.key("results.parquet"), results[~lost].to_parquet(index=False))
    create_survey(report, 24, models=("assembled", "hypercolumn"))
    with pytest.raises(ConfigError, match="8 photographs of vehicles, but the report has only 7"):
        create_survey(report, 24)


def create_spring(number: int, uri: str, seed: int) -> str:
    report = open_report(open_storage(uri), "compared")
    try:
        return create_survey(report, 6, seed, name=f"spring-{number}").secret
    except ConfigError as error:
        return str(error)


def test_of_two_surveys_of_one_name_one_is_created(report: Report) -> None:
    storage = report.storage
    races = race(create_spring, [(storage.uri, 1), (storage.uri, 2)], 10)
    for number, outcomes in enumerate(races):
        secret = open_survey(storage, f"spring-{number}").secret
        (other,) = set(outcomes) - {secret}
        assert f"there is a survey 'spring-{number}' already" in other
