"""The survey: people say which colouring of a photograph looks most natural.

surveys/<survey>/survey.json                             the questions, and whether it is closed
surveys/<survey>/answers/<participant>/<question>.json   one answer of one participant

Each answer is an object of its own, so no answer is lost or counted twice, however many processes
take them.
"""

from colorgan.survey.answers import (
    CANNOT_TELL,
    Answer,
    answered_questions,
    answers_table,
    is_participant,
    new_participant,
    read_answers,
    record_answer,
)
from colorgan.survey.creation import MAX_MODELS, MAX_QUESTIONS, MODELS, create_survey
from colorgan.survey.documents import (
    SCHEMA_VERSION,
    Question,
    Survey,
    close_survey,
    list_surveys,
    open_survey,
)
from colorgan.survey.votes import CONFIDENCE, Tally, survey_frames, tally

__all__ = [
    "CANNOT_TELL",
    "CONFIDENCE",
    "MAX_MODELS",
    "MAX_QUESTIONS",
    "MODELS",
    "SCHEMA_VERSION",
    "Answer",
    "Question",
    "Survey",
    "Tally",
    "answered_questions",
    "answers_table",
    "close_survey",
    "create_survey",
    "is_participant",
    "list_surveys",
    "new_participant",
    "open_survey",
    "read_answers",
    "record_answer",
    "survey_frames",
    "tally",
]
