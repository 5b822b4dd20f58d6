"""One way through an assembled model, whether its networks run here or elsewhere."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from colorgan.inference.assembled import AssembledColorizer
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.networks import (
    GeneratorNetwork,
    ModelInfo,
    PredictedColor,
    Routed,
    RouterInfo,
    RouterNetwork,
    Square,
    describe,
)
from colorgan.inference.prediction import AssembledModel, NoModel
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.noise import Numbers
from colorgan.models.unet import UNetGenerator
from tests.inference.test_router import label_router, photograph

ROUTER = label_router({"tabby": 0.9}, {"suit": 0.8}, {"cab": 0.8})
PHOTOGRAPHS = [photograph(1.0), photograph(0.0, 33, 21), photograph(0.5), photograph(1.0, 8, 8)]


class InThreads:
    """Networks and steps in threads, as in a service."""

    def __init__(self, colorizers: Mapping[str, Colorizer], concurrent: bool = True) -> None:
        self.infos = {name: describe(each, name) for name, each in colorizers.items()}
        self.network = RouterNetwork(ROUTER, {}, {})
        self.generators = {
            name: GeneratorNetwork(each, self.infos[name]) for name, each in colorizers.items()
        }
        self.painted: list[tuple[str, int]] = []
        self.concurrent = concurrent

    async def router(self) -> RouterInfo:
        return self.network.info

    async def models(self) -> Mapping[str, ModelInfo]:
        return self.infos

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        return await asyncio.to_thread(self.network.work, squares, numbers)

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        self.painted.append((model, len(squares)))
        return await asyncio.to_thread(self.generators[model].work, squares, numbers)

    def stage(self, name: str) -> nullcontext[None]:
        return nullcontext()

    async def run(self, step: Any, *arguments: Any) -> Any:
        return await asyncio.to_thread(step, *arguments)

    async def together(self, *steps: Any) -> Sequence[Any]:
        return await asyncio.gather(*steps)


@pytest.fixture(scope="module")
def colorizers() -> dict[str, Colorizer]:
    made = {}
    for seed, (name, size) in enumerate(zip(ROUTER.classes, (32, 64, 32), strict=True)):
        torch.manual_seed(seed)
        made[name] = Colorizer(UNetGenerator(GeneratorConfig(size=size, width=2)))
    return made


@pytest.mark.parametrize("concurrent", [True, False])
def test_networks_in_threads_colour_as_networks_that_are_called_directly(
    colorizers: dict[str, Colorizer], concurrent: bool
) -> None:
    threads = InThreads(colorizers, concurrent)
    model = AssembledModel(threads, threads)
    predicted = asyncio.run(model.predict(PHOTOGRAPHS))
    direct = AssembledColorizer(ROUTER, colorizers)(PHOTOGRAPHS, vividness=1.3)
    assert threads.painted == [("vehicles", 2), ("animals", 1), ("people", 1)]
    for ours, theirs in zip(predicted, direct, strict=True):
        assert ours.route == theirs.route
        assert ours.color.model.name == theirs.model
        np.testing.assert_array_equal(ours.picture(1.3), theirs.rgb)


def test_a_program_with_an_event_loop_may_call_the_networks_directly(
    colorizers: dict[str, Colorizer],
) -> None:
    async def color() -> list[str]:
        return [each.model for each in AssembledColorizer(ROUTER, colorizers)(PHOTOGRAPHS)]

    assert asyncio.run(color()) == ["vehicles", "animals", "people", "vehicles"]


def test_a_given_model_colours_every_photograph_and_the_router_is_not_asked(
    colorizers: dict[str, Colorizer],
) -> None:
    threads = InThreads(colorizers)
    predicted = asyncio.run(AssembledModel(threads, threads).predict(PHOTOGRAPHS, "people"))
    assert threads.painted == [("people", 4)]
    for each, original in zip(predicted, PHOTOGRAPHS, strict=True):
        assert each.route is None
        np.testing.assert_array_equal(each.picture(), colorizers["people"]([original])[0])


def test_the_routes_are_known_before_a_class_without_a_model_is_refused(
    colorizers: dict[str, Colorizer],
) -> None:
    threads = InThreads({"animals": colorizers["animals"]})
    known: list[str] = []
    with pytest.raises(NoModel, match="no model of the class vehicles"):
        asyncio.run(
            AssembledModel(threads, threads).predict(
                PHOTOGRAPHS[:1], on_routes=lambda routes: known.extend(r.best_class for r in routes)
            )
        )
    assert known == ["vehicles"] and not threads.painted
