"""Colours films on a Ray cluster: actors with the models take segments of all films in turn.

Every machine must see the films and the folder of the outputs. Segments are written there as
`colorgan colorize` writes them, so a job and a command go on with what either has begun.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import ray
import torch

from cluster.archives import ArchivePlan
from cluster.errors import cause
from cluster.planning import Plan as Share
from colorgan.archives.networks import Chosen
from colorgan.errors import ColorganError
from colorgan.film.painting import Painter
from colorgan.film.plan import Plan, Segment, make_plan
from colorgan.film.segments import color_segment
from colorgan.film.work import Parts, Work

_RETRIES = 2  # how often a segment is tried again after its actor has died


@dataclass(frozen=True)
class Job:
    """A film on the cluster; it can be pickled.

    Attributes:
        work: what is to be done.
        parts: where the segments are kept.
    """

    work: Work
    parts: Parts


class FilmActors:
    """Actors that hold the models."""

    def __init__(self, chosen: Chosen, plan: ArchivePlan) -> None:
        """Start them."""
        options: dict[str, Any] = {
            "num_cpus": plan.actor_cpus,
            "num_gpus": plan.actor.gpus,
            "max_restarts": -1,
            "max_task_retries": _RETRIES,
        }
        actor = ray.remote(_Actor).options(**options)
        self._actors = [actor.remote(chosen, plan.actor) for _ in range(plan.actors)]

    def plans(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Plan | str]]:
        """The plan of each film by its place, in any order, or why it has none."""
        return self._spread("plan", list(enumerate(jobs)))

    def color(
        self, jobs: Sequence[Job], plans: Sequence[tuple[int, Plan, Sequence[Segment]]]
    ) -> Iterator[tuple[int, int | str]]:
        """Colour segments, and yield the film's place and the number of frames, or an error.

        Args:
            jobs: the films.
            plans: the place of a film among them, its plan, and the segments to colour.
        """
        tasks: list[tuple[Any, ...]] = []
        for place, plan, segments in plans:
            given = ray.put((jobs[place], plan))
            tasks += [(place, given, segment) for segment in segments]
        return self._spread("color", tasks)

    def _spread(self, method: str, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """The results of a method for the arguments of tasks; an actor has one task at a time."""
        left = iter(tasks)
        busy: dict[Any, Any] = {}

        def give(actor: Any) -> None:
            for task in left:
                busy[getattr(actor, method).remote(*task)] = actor
                return

        for actor in self._actors:
            give(actor)
        while busy:
            (done,), _ = ray.wait(list(busy), num_returns=1)
            actor = busy.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayError as error:
                raise ColorganError(f"the films could not be coloured: {cause(error)}") from None
            give(actor)
            yield result


class _Actor:
    """An actor with the models."""

    def __init__(self, chosen: Chosen, share: Share) -> None:
        share.apply_to_process()
        cv2.setNumThreads(share.threads)
        device = torch.device("cuda" if share.on_gpu else "cpu")
        self._painter = Painter.load(chosen, device)

    def plan(self, place: int, job: Job) -> tuple[int, Plan | str]:
        """Find the scenes of a film, unless they are known."""
        try:
            plan = job.parts.plan()
            if plan is None:
                plan = make_plan(job.work.film, self._painter)
                job.parts.keep_plan(plan)
        except ColorganError as error:
            return place, str(error)
        return place, plan

    def color(self, place: int, given: tuple[Job, Plan], segment: Segment) -> tuple[int, int | str]:
        """Colour a segment and write it."""
        job, plan = given
        try:
            data = color_segment(job.work.film, plan, segment, self._painter, job.work.settings)
            job.parts.write(segment.number, data)
        except ColorganError as error:
            return place, str(error)
        return place, segment.end - segment.first
