"""The service over HTTP against the bare pipeline in this process, in turns, on the same models.

    python -m benchmarks.serve_load --storage URI PHOTO...

The bare pipeline does what the service does to a photograph: decode, classify, generate,
recombine, encode as PNG. Batched, its throughput is what HTTP can at most reach; one photograph at
a time, its latency is what an unloaded request can at best take. Then the service is given
`--overload` times as many clients as it lets in, for `--overload-seconds`. Loopback only; bounded
in count and time.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import psutil
import torch

from colorgan.assembled import AssembledColorizer, find_class_models, load_assembled
from colorgan.cli import add_storage_option, guarded
from colorgan.errors import ColorganError
from colorgan.images.decoding import decode, encode_png
from colorgan.router import RouterConfig, open_router
from colorgan.storage import open_storage
from serve.config import Limits

BATCH = 8
START_SECONDS = 180


@dataclass(frozen=True)
class Answers:
    """What came back: a status and seconds for each request, and the seconds of all."""

    statuses: list[int]
    seconds: list[float]
    wall: float

    def of(self, *statuses: int) -> list[float]:
        """The seconds of the answers of these statuses, sorted."""
        pairs = zip(self.statuses, self.seconds, strict=True)
        return sorted(seconds for status, seconds in pairs if status in statuses)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.serve_load", description=__doc__)
    add_storage_option(parser)
    parser.add_argument("photographs", metavar="PHOTO", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200, help="a round, at saturation")
    parser.add_argument("--clients", type=int, default=12, help="at once, at saturation")
    parser.add_argument("--overload", type=int, default=4, help="times the clients let in")
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--local", action="store_true", help="the service without Ray")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args(argv)
    return guarded(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    photos = [path.read_bytes() for path in args.photographs]
    router = open_router(RouterConfig(), storage)
    cards = find_class_models(storage, router.classes)
    assembled = load_assembled(storage, router, cards)
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> float:
        figures.setdefault(name, []).append(value)
        return value

    with _service(storage.uri, args.local) as (address, process):
        _bare_batched(assembled, photos[:BATCH])
        asyncio.run(_ask(address, photos, clients=4, requests=24))  # warm
        for _ in range(args.rounds):
            bare = note("bare_images_per_second", _bare_batched(assembled, photos))
            loaded = asyncio.run(_ask(address, photos, args.clients, args.requests))
            served = len(loaded.of(200)) / loaded.wall
            note("http_images_per_second", served)
            note("throughput_ratio", served / bare)
            alone = note("bare_ms", 1000 * _bare_alone(assembled, photos))
            single = asyncio.run(_ask(address, photos, 1, min(40, args.requests)))
            unloaded = note("http_ms", 1000 * statistics.median(single.of(200)))
            note("added_ms", unloaded - alone)
            for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
                note(name, 1000 * _quantile(loaded.of(200), share))
            print(
                f"at saturation {served:.1f} images/s over HTTP, {bare:.1f} bare: ratio "
                f"{served / bare:.2f}; one alone {unloaded:.0f} ms over HTTP, {alone:.0f} ms bare: "
                f"{unloaded - alone:+.0f} ms",
                flush=True,
            )
        for name, values in figures.items():
            print(f"{name}: {statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})")
        if args.overload_seconds:
            _overload(args, address, process, photos)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _overload(
    args: argparse.Namespace, address: str, process: psutil.Process, photos: list[bytes]
) -> None:
    clients = args.overload * Limits().max_requests
    before = _memory(process)
    answers = asyncio.run(_ask(address, photos, clients, seconds=args.overload_seconds))
    time.sleep(5)
    after = _memory(process)
    accepted, refused = answers.of(200), answers.of(429, 503)
    print(
        f"overload, {clients} clients for {args.overload_seconds:g} s: "
        f"{dict(Counter(answers.statuses))}; accepted p50 {_quantile(accepted, 0.5):.2f} s, p99 "
        f"{_quantile(accepted, 0.99):.2f} s; refused p50 {_quantile(refused, 0.5):.2f} s, p99 "
        f"{_quantile(refused, 0.99):.2f} s, slowest {max(refused, default=0):.2f} s; memory "
        f"{before:.0f} MiB before, {after:.0f} MiB after",
        flush=True,
    )


def _bare_batched(assembled: AssembledColorizer, photos: list[bytes]) -> float:
    """Images a second of the pipeline in batches, on all cores."""
    torch.set_num_threads(os.cpu_count() or 1)
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(photos), BATCH):
            decoded = list(pool.map(decode, photos[start : start + BATCH]))
            colored = assembled([photograph.rgb for photograph in decoded])
            list(pool.map(encode_png, [each.rgb for each in colored]))
    return len(photos) / (time.perf_counter() - started)


def _bare_alone(assembled: AssembledColorizer, photos: list[bytes]) -> float:
    """Median seconds of the pipeline for one photograph at a time, on one core.

    More cores are no faster: at this size their threads wait for each other longer than they work.
    """
    torch.set_num_threads(1)
    taken = []
    for photo in photos[:40]:
        started = time.perf_counter()
        encode_png(assembled([decode(photo).rgb])[0].rgb)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


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
        # A connection each, as of so many people; a client that is sent away comes back when told.
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
def _service(storage: str, local: bool) -> Iterator[tuple[str, psutil.Process]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serve", "--storage", storage, "--port", str(port)]
    process = subprocess.Popen([*command, *(["--local"] if local else [])])
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
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _memory(process: psutil.Process) -> float:
    """MiB of a process and all that it started."""
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
