"""The sections of the results page, one per question, made from the results of the jobs."""

from collections.abc import Callable

from colorgan.storage import Storage
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.sections.analyses import (
    failures_section,
    realizations_section,
    routing_section,
)
from jobs.reproduction.sections.baselines import (
    cic_section,
    conditional_section,
    fcn_section,
    landscapes_section,
)
from jobs.reproduction.sections.classifiers import classifiers_section, robustness_section
from jobs.reproduction.sections.diverse import diverse_section
from jobs.reproduction.sections.epochs import epochs_section
from jobs.reproduction.sections.models import models_section, time_section
from jobs.reproduction.sections.objects import objects_section
from jobs.reproduction.sections.section import Section
from jobs.reproduction.sections.trials import (
    batches_section,
    photographs_section,
    sizes_section,
)


def make_sections(storage: Storage, reproduction: Reproduction) -> list[Section]:
    """Make all sections, in the report's order; raises NotInStorage if a step is missing."""
    makers: list[Callable[[Storage, Reproduction], Section]] = [
        models_section,
        time_section,
        sizes_section,
        batches_section,
        epochs_section,
        photographs_section,
        routing_section,
        realizations_section,
        failures_section,
        cic_section,
        classifiers_section,
        fcn_section,
        diverse_section,
        conditional_section,
        objects_section,
        robustness_section,
        landscapes_section,
    ]
    return [make(storage, reproduction) for make in makers]
