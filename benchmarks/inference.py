"""Inference with the generator of the preset `report`, against plain float32 eager mode.

    python -m benchmarks.inference [--quick | --full] [--json FILE]

All contenders use random weights, evaluation mode and no gradients; the reference starts from
lightness in memory. `colorgan` is `Colorizer.generate`, which starts from sRGB, is not compiled and
uses the fastest type of the device. The other contenders use faster formats. Compiled ones run in
separate processes, and their compile time, which is spent once for all batch sizes, is reported
separately. `levels` is the mean absolute difference in sRGB from the float32 eager result, on a
scale of 255.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.children import Child, Facts, Work, settler
from benchmarks.face import LATE, Settings, left_out, main_of, note
from benchmarks.measure import Result, Unavailable, Variant, interleave
from colorgan.data.scenes import CLASSES, draw_scene
from colorgan.images import lab
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.compilation import compile_network
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.unet import UNetGenerator
from colorgan.names import GENERAL
from colorgan.system import cpu_has_bfloat16
from colorgan.temporary import temporary_folder
from colorgan.training.presets import PRESETS

NAME = "inference"
REFERENCE = "float32 eager"

_SCENES = 6  # number of different scenes in a batch


def run(settings: Settings) -> list[Result]:
    """Measure every batch size."""
    device, settings = settings.device_type, settings.within(200)
    report = report_config()
    config = settings.pick(GeneratorConfig(size=32, width=4), report, report)
    usual = (1, 8, 64) if device == "cuda" else (1, 8)
    batches = settings.pick((2,), usual, (1, 2, 4, 8, 16, 32, 64))
    compiled = settings.pick((), batches, batches)
    results = []
    # A new cache, so that nothing compiled in another run is reused.
    with temporary_folder("inductor") as cache:
        for batch in batches:
            if settings.late():
                results.append(left_out(NAME, _case_name(config, batch), LATE))
                continue
            note(f"  batch {batch}")
            results += _case(
                settings, config, batch, device, str(cache) if batch in compiled else ""
            )
    return results


def _case_name(config: GeneratorConfig, batch: int) -> str:
    return f"{config.size} px, batch {batch}"


def _case(
    settings: Settings, config: GeneratorConfig, batch: int, device: str, cache: str
) -> list[Result]:
    case = _case_name(config, batch)
    generator, rgb = make_generator(config, device), make_batch(batch, config.size)
    lightness, _ = lab.encode(rgb.to(device), config.color_space)
    colorizer = Colorizer(generator)
    ways: dict[str, Callable[[], Tensor]] = {
        REFERENCE: lambda: forward(generator, lightness),
        "colorgan": lambda: colorizer.generate(rgb),
    }
    layouts = [("channels_last eager", torch.channels_last, torch.float32)]
    if (
        device != "cpu" or cpu_has_bfloat16() or settings.scale != "default"
    ):  # without instructions for bfloat16, each run takes seconds
        layouts += [
            ("bfloat16 eager", torch.contiguous_format, torch.bfloat16),
            ("bfloat16 channels_last eager", torch.channels_last, torch.bfloat16),
        ]
    for name, layout, dtype in layouts:
        network = make_generator(config, device).to(dtype).to(memory_format=layout)
        ready = lightness.to(dtype, memory_format=layout)
        ways[name] = partial(forward, network, ready)
    truth = ways[REFERENCE]()
    facts: dict[str, Facts] = {
        name: {"levels": levels(way(), truth, lightness, config)}
        for name, way in ways.items()
        if name != REFERENCE
    }
    variants = [Variant(name, partial(_paint, way)) for name, way in ways.items()]
    missing = []
    with ExitStack() as stack:
        children = {}
        for dtype in (torch.float32, torch.bfloat16) if cache else ():
            name = f"{str(dtype).removeprefix('torch.')} compiled"
            note(f"    compiling {name.split()[0]}")
            try:
                children[name] = Child(name, make_compiled, config, batch, device, dtype, cache)
            except Unavailable as reason:
                missing.append(left_out(NAME, case, str(reason), name))
                continue
            stack.enter_context(children[name])
            variants.append(children[name].variant)
        timings = interleave(variants, settings.rounds(), settler(device))
        facts |= {name: child.end()[0] for name, child in children.items()}
    rows = timings.results(NAME, case, "ms", lambda seconds: 1000 * seconds, facts=facts)
    return rows + missing


def report_config() -> GeneratorConfig:
    """The generator of the preset `report`: 256 px, width 64."""
    config = PRESETS["report"].training.architecture(GENERAL)
    assert isinstance(config, GeneratorConfig)
    return config


def make_generator(config: GeneratorConfig, device: str) -> UNetGenerator:
    """A generator in evaluation mode, with random weights from a fixed seed."""
    torch.manual_seed(0)
    return UNetGenerator(config).eval().requires_grad_(False).to(device)


def make_batch(count: int, size: int) -> Tensor:
    """A batch of scenes, which repeat after a few: (count, 3, size, size) uint8 sRGB."""
    scenes = [
        torch.from_numpy(draw_scene(CLASSES[number % len(CLASSES)], number, size, size))
        for number in range(min(count, _SCENES))
    ]
    return torch.stack([scenes[n % len(scenes)] for n in range(count)]).permute(0, 3, 1, 2)


@torch.inference_mode()
def forward(network: Callable[[Tensor], Tensor], lightness: Tensor) -> Tensor:
    """The colours of a batch, (batch, channels, size, size) float32 on the CPU."""
    return network(lightness).float().cpu()


def levels(color: Tensor, truth: Tensor, lightness: Tensor, config: GeneratorConfig) -> float:
    """Mean absolute difference of two colourings in sRGB, on a scale of 255."""
    ours, theirs = (
        lab.decode(lightness.float().cpu(), each, config.color_space) for each in (color, truth)
    )
    return float((ours - theirs).abs().mean()) * 255


def make_compiled(
    config: GeneratorConfig, batch: int, device: str, dtype: torch.dtype, cache: str
) -> Work:
    """Compile the generator as `Colorizer.compile` does on a CPU, or with torch.compile on a GPU.

    Args:
        config: configuration of the generator.
        batch: number of photographs in a batch.
        device: cpu or cuda.
        dtype: type of the weights.
        cache: folder for compiled code.

    Raises:
        Unavailable: there is no C++ compiler, compiling failed, or freezing did nothing.
    """
    os.environ |= {"COLORGAN_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": cache}
    generator, rgb = make_generator(config, device), make_batch(batch, config.size)
    lightness, _ = lab.encode(rgb.to(device), config.color_space)
    truth = forward(generator, lightness)
    ready = lightness.to(dtype)
    began = time.perf_counter()
    try:
        compiled: Callable[[Tensor], Tensor]
        if device == "cpu":
            compiled = compile_network(generator, lightness[:1], dtype=dtype)
        else:
            # With small batches, a GPU waits for Python unless a CUDA graph launches all kernels.
            options: dict[str, Any] = {"freezing": True, "triton.cudagraphs": True}
            compiled = torch.compile(generator.to(dtype), options=options)
        color = forward(compiled, ready)
    except Exception as error:  # errors of inductor, the compiler or the linker on a GPU
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    facts: Facts = {
        "levels": levels(color, truth, lightness, config),
        "s to compile": time.perf_counter() - began,
    }
    return Work(partial(_paint, partial(forward, compiled, ready)), lambda: facts, device)


def _paint(way: Callable[[], Tensor]) -> None:
    """Run a contender without returning its result, as `Variant.run` requires."""
    way()


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
