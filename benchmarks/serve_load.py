"""The service over HTTP against the bare pipeline in this process, with the same models.

    python -m benchmarks.serve_load --storage URI PHOTO... [--json FILE]
    python -m benchmarks serve_load --untrained

The bare pipeline decodes, classifies, generates, recombines and encodes as PNG, as the service
does. Its throughput in batches is the upper bound for HTTP, and its latency for single photographs
is the lower bound for an unloaded request. Both contenders take turns. Then `--overload` times as
many clients as the service admits send requests for `--overload-seconds`. All requests use the
loopback interface, and their number and time are limited.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import httpx
import psutil
import torch

from benchmarks.children import Facts
from benchmarks.face import Settings, add_options, note, run_all, settings_of
from benchmarks.inference import report_config
from benchmarks.measure import Result, Rounds, Spread, Timings, Variant, interleave
from benchmarks.packages import publish_untrained, spread
from benchmarks.photographs import photographs
from cluster.local import free_ports
from colorgan import options
from colorgan.commands.process import add_storage_option
from colorgan.data.scenes import CLASSES
from colorgan.errors import ColorganError
from colorgan.images.decoding import decode, encode_png
from colorgan.inference.assembled import AssembledColorizer, find_class_models, load_assembled
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import GeneratorConfig
from colorgan.options import option
from colorgan.storage import open_storage
from colorgan.temporary import temporary_folder
from serve.config import Limits

NAME = "serve_load"
BATCH = 8
PHOTOS = 40
START_SECONDS = 180

_HTTP = "HTTP"


@dataclass(frozen=True)
class Load:
    """The load on the service."""

    rounds: int = option(3, "of everything")
    requests: int = option(200, "a round, at saturation")
    clients: int = option(12, "at once, at saturation")
    overload: int = option(4, "times the clients that the service lets in")
    overload_seconds: float = option(60.0, "of overload; 0 does without")
    local: bool = option(False, "the service without Ray")
    compile: bool = option(False, "the service, and what it is compared with one alone")


@dataclass(frozen=True)
class Answers:
    """The status and duration of each request in seconds, and the duration of all (`wall`)."""

    statuses: list[int]
    seconds: list[float]
    wall: float

    def of(self, *statuses: int) -> list[float]:
        """The durations of requests with one of these statuses, ascending."""
        pairs = zip(self.statuses, self.seconds, strict=True)
        return sorted(seconds for status, seconds in pairs if status in statuses)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.serve_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_storage_option(parser)
    parser.add_argument(
        "photographs", metavar="PHOTO", nargs="*", type=Path, help="default: drawn scenes"
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="serve generators with random weights, as the preset report has, from a new storage",
    )
    options.add_options(parser, Load)
    add_options(parser)
    args = parser.parse_args(argv)
    photos = [path.read_bytes() for path in args.photographs]
    load = options.given(Load, args)

    def benchmark(settings: Settings) -> list[Result]:
        if args.untrained:
            return run(settings, photos, load)
        return _measure(args.storage, photos or _scenes(settings), _load(settings, load))

    benchmarks = {NAME: lambda: benchmark}
    return run_all(benchmarks, settings_of(args), args.json, args.overwrite, args.photographs)


def run(
    settings: Settings, photos: Sequence[bytes] = (), load: Mapping[str, Any] = MappingProxyType({})
) -> list[Result]:
    """Measure the service with untrained generators.

    Args:
        settings: how to measure.
        photos: encoded photographs to send; those of the settings if empty.
        load: fields of Load that override those of the scale.
    """
    report = report_config()
    config = settings.pick(GeneratorConfig(size=32, width=2), report, report)
    with temporary_folder("bench") as folder:
        card = publish_untrained(Path(folder, "one"), config)
        spread(Path(folder, "served"), Path(folder, "one"), card, CLASSES)
        sent = list(photos) or _scenes(settings)
        return _measure(str(Path(folder, "served")), sent, _load(settings, load))


def _scenes(settings: Settings) -> list[bytes]:
    return photographs(settings, settings.pick(2, PHOTOS, PHOTOS))


def _load(settings: Settings, load: Mapping[str, Any]) -> "Load":
    quick = Load(rounds=1, requests=8, clients=2, overload_seconds=0.0, local=True)
    return replace(settings.pick(quick, Load(), Load(rounds=5)), **load)


def _measure(place: str | None, photos: list[bytes], load: Load) -> list[Result]:
    storage = open_storage(place)
    router = open_router(RouterConfig(), storage)
    cards = find_class_models(storage, router.classes)
    assembled = load_assembled(storage, router, cards)
    one_by_one = load_assembled(storage, open_router(RouterConfig(), storage), cards)
    if load.compile:
        with _threads(1):
            one_by_one.compile()
    rounds = Rounds(load.rounds, load.rounds, turn=0.0)
    single = min(40, load.requests)
    latencies: list[float] = []

    with _service(storage.uri, load) as (address, direct, process):
        asyncio.run(_ask(address, photos, clients=4, requests=min(24, load.requests)))  # warm

        def saturated() -> float:
            answers = asyncio.run(_ask(address, photos, load.clients, load.requests))
            latencies.extend(answers.of(200))
            return answers.wall / len(answers.of(200))

        def unloaded(where: str) -> float:
            return statistics.median(asyncio.run(_ask(where, photos, 1, single)).of(200))

        note("  at saturation")
        bare = Variant("bare pipeline, batched", lambda: 1 / _bare_batched(assembled, photos))
        together = interleave([bare, Variant(_HTTP, saturated)], rounds)
        note("  one alone")
        alone = [
            Variant("bare pipeline", lambda: _bare_alone(one_by_one, photos)),
            Variant(_HTTP, lambda: unloaded(address)),
        ]
        if direct:
            alone.append(Variant("HTTP, past Serve's proxy", lambda: unloaded(direct)))
        apart = interleave(alone, rounds)
        rows = [
            *together.results(
                NAME,
                f"at saturation, {load.clients} clients",
                "images/s",
                lambda seconds: 1 / seconds,
                facts={_HTTP: _quantiles(latencies)},
            ),
            *apart.results(
                NAME,
                "one alone",
                "ms",
                lambda seconds: 1000 * seconds,
                facts={each.name: _added(apart, each.name) for each in alone[1:]},
            ),
        ]
        if load.overload_seconds:
            note("  overload")
            rows.append(_overload(load, address, process, photos))
    return rows


def _added(timings: Timings, name: str) -> Facts:
    pairs = zip(timings.seconds[name], timings.seconds[timings.reference], strict=True)
    return {"ms more than bare": str(Spread.of([1000 * (ours - bare) for ours, bare in pairs]))}


def _quantiles(seconds: Sequence[float]) -> Facts:
    ordered = sorted(seconds)
    return {f"p{percent} ms": 1000 * _quantile(ordered, percent / 100) for percent in (50, 95, 99)}


def _overload(load: Load, address: str, process: psutil.Process, photos: list[bytes]) -> Result:
    clients = load.overload * Limits().max_requests
    before = _memory(process)
    answers = asyncio.run(_ask(address, photos, clients, seconds=load.overload_seconds))
    time.sleep(5)
    after = _memory(process)
    accepted, refused = answers.of(200), answers.of(429, 503)
    facts: Facts = {
        **{f"status {status}": count for status, count in Counter(answers.statuses).items()},
        "accepted p50 s": _quantile(accepted, 0.5),
        "accepted p99 s": _quantile(accepted, 0.99),
        "refused p50 s": _quantile(refused, 0.5),
        "refused p99 s": _quantile(refused, 0.99),
        "refused slowest s": max(refused, default=0.0),
        "MiB before": before,
        "MiB after": after,
    }
    case = f"overload, {clients} clients for {load.overload_seconds:g} s"
    return Result(NAME, case, _HTTP, len(accepted) / answers.wall, "images/s", facts=facts)


def _bare_batched(assembled: AssembledColorizer, photos: list[bytes]) -> float:
    """Throughput of the pipeline in batches on all cores, in images per second."""
    with _threads(os.cpu_count() or 1), ThreadPoolExecutor(os.cpu_count()) as pool:
        started = time.perf_counter()
        for start in range(0, len(photos), BATCH):
            decoded = list(pool.map(decode, photos[start : start + BATCH]))
            colored = assembled([photograph.rgb for photograph in decoded])
            list(pool.map(encode_png, [each.rgb for each in colored]))
        return len(photos) / (time.perf_counter() - started)


def _bare_alone(assembled: AssembledColorizer, photos: list[bytes]) -> float:
    """Median duration of the pipeline for a single photograph on one core, in seconds.

    More cores are not faster: at this size, synchronising threads takes longer than their work.
    """
    taken = []
    with _threads(1):
        for photo in photos[:40]:
            started = time.perf_counter()
            encode_png(assembled([decode(photo).rgb])[0].rgb)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set PyTorch's number of threads inside a `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


async def _ask(
    address: str,
    photos: list[bytes],
    clients: int,
    requests: int | None = None,
    seconds: float = 600.0,
) -> Answers:
    statuses: list[int] = []
    taken: list[float] = []
    numbers = iter(range(requests if requests is not None else 10**9))
    started = time.perf_counter()

    async def client() -> None:
        # Each client has its own connection; a rejected one retries after the time that it is told.
        async with aiohttp.ClientSession() as http:
            for number in numbers:
                if time.perf_counter() - started > seconds:
                    return
                asked = time.perf_counter()
                photo = photos[number % len(photos)]
                async with http.post(f"{address}/colorize", data=photo) as response:
                    await response.read()
                statuses.append(response.status)
                taken.append(time.perf_counter() - asked)
                if response.status in (429, 503):
                    await asyncio.sleep(float(response.headers["Retry-After"]))

    await asyncio.gather(*(client() for _ in range(clients)))
    return Answers(statuses, taken, time.perf_counter() - started)


@contextmanager
def _service(storage: str, load: Load) -> Iterator[tuple[str, str | None, psutil.Process]]:
    """Start the service; yields its address, the address of the ingress itself, and its process.

    The ingress's address bypasses Serve's proxy; it is None for a service without Ray.
    """
    port, direct_port = free_ports(2)
    command = [sys.executable, "-m", "serve", "--storage", storage, "--port", str(port)]
    process = subprocess.Popen(
        [*command, *(["--local"] * load.local), *(["--compile"] * load.compile)],
        env={
            **os.environ,
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(direct_port),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(direct_port + 1),
        },
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{address}/healthz", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
            if process.poll() is not None or time.monotonic() > deadline:
                raise ColorganError("the service did not start; its output above says why")
        direct = None if load.local else f"http://127.0.0.1:{direct_port}"
        yield address, direct, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _memory(process: psutil.Process) -> float:
    """Memory of a process and its descendants, in MiB."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


if __name__ == "__main__":
    sys.exit(main())
