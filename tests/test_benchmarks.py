import json
import operator
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as face
from benchmarks import inference, photographs, serve_memory, training_step
from benchmarks.children import Child, ChildFailedError, Work
from benchmarks.face import Settings, run_all
from benchmarks.machine import memory_mib
from benchmarks.measure import (
    AGAIN,
    Result,
    Rounds,
    Spread,
    Timings,
    Unavailable,
    Variant,
    interleave,
    rotate,
)
from benchmarks.reference_step import ReferenceTraining
from colorgan.data.batches import PhotoBank
from colorgan.evaluation.statistics import fit_power_law
from colorgan.images import lab
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.precision import fastest_dtype
from colorgan.system import about_machine
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from tests.warm.client import WarmStart

ONCE = Rounds(1, 1, turn=0.0)


class FakeClock:
    """Time that passes only while contenders work; it keeps who worked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked: list[str] = []

    def variant(self, name: str, seconds: float, says: float | None = None) -> Variant:
        def run() -> float | None:
            self.now += seconds
            self.worked.append(name)
            return says

        return Variant(name, run)

    def interleave(self, *variants: Variant, rounds: Rounds = ONCE) -> Timings:
        return interleave(variants, rounds, clock=lambda: self.now)


def test_every_round_times_the_reference_twice_and_begins_with_another_contender() -> None:
    clock = FakeClock()
    timings = clock.interleave(
        clock.variant("slow", 4.0), clock.variant("fast", 1.0), rounds=Rounds(3, 3)
    )
    assert clock.worked[2:] == [
        *("slow", "slow", "fast"),
        *("slow", "fast", "slow"),
        *("fast", "slow", "slow"),
    ]
    assert timings.seconds == {"slow": [4.0] * 3, AGAIN: [4.0] * 3, "fast": [1.0] * 3}
    assert timings.speedup("fast") == Spread(4.0, 4.0, 4.0)


def test_the_speed_up_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine was three times as slow in the second round: the ratio is not.
    timings = Timings(
        {"reference": [2.0, 6.0, 2.0], AGAIN: [2.0, 3.0, 2.0], "ours": [1.0, 3.0, 0.5]}
    )
    assert timings.speedup("ours") == Spread(2.0, 2.0, 4.0)
    assert timings.speedup(AGAIN) == Spread(1.0, 1.0, 2.0)
    assert timings.speedup("ours", over=AGAIN) == Spread(2.0, 1.0, 4.0)
    rows = timings.results("b", "case", "images/s", lambda seconds: 10 / seconds, {"ours": 7.0})
    assert [(row.variant, row.value, row.peak_mib) for row in rows] == [
        ("reference", 5.0, None),
        (AGAIN, 5.0, None),
        ("ours", 10.0, 7.0),
    ]
    assert rows[0].ratio is None and rows[2].ratio == Spread(2.0, 2.0, 4.0)


def test_short_work_is_repeated_until_its_turn_can_be_timed() -> None:
    clock = FakeClock()
    timings = clock.interleave(
        clock.variant("short", 0.25), clock.variant("long", 3.0), rounds=Rounds(1, 1, turn=1.0)
    )
    assert clock.worked.count("short") == 2 + 2 * 4  # warm-up, then two turns of four
    assert clock.worked.count("long") == 2
    assert timings.seconds["short"] == [0.25]


def test_where_a_contender_tells_the_seconds_that_count_they_count() -> None:
    clock = FakeClock()
    timings = clock.interleave(clock.variant("a", 2.0), clock.variant("b", 2.0, says=0.5))
    assert timings.speedup("b").median == 4.0


def test_no_round_begins_after_its_time_once_the_least_are_done() -> None:
    clock = FakeClock()
    slow = clock.variant("slow", 100.0)
    assert len(clock.interleave(slow, rounds=Rounds(9, 2, seconds=1.0)).seconds["slow"]) == 2
    assert len(clock.interleave(slow, rounds=Rounds(9, 2, seconds=700.0)).seconds["slow"]) == 4


def test_rotation_puts_each_first_in_turn() -> None:
    assert [rotate("abc", number) for number in range(4)] == [
        list("abc"),
        list("bca"),
        list("cab"),
        list("abc"),
    ]


def test_a_power_law_is_found_again() -> None:
    law = fit_power_law([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)])
    assert law.exponent == pytest.approx(1.5)
    assert law.r_squared == pytest.approx(1.0)
    assert fit_power_law([1, 2, 4, 8], [1, 9, 2, 8]).r_squared < 0.5


def test_a_child_works_in_a_process_of_its_own_and_tells_its_own_memory() -> None:
    with Child("a", Work, os.getpid) as child:
        (process,) = interleave([child.variant], ONCE).seconds["a"]
        facts, peak = child.end()
    assert process != os.getpid()
    assert facts == {}
    assert 1 < peak < memory_mib() / 2  # getrusage would count this process's memory


def test_a_child_that_cannot_work_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="holds 0 photographs"):
        Child("a", photographs.photographs, Settings(photos=tmp_path), 2)
    with pytest.raises(Unavailable, match=r"died \(status 9\)"):
        Child("a", os._exit, 9)
    with pytest.raises(ChildFailedError, match="ZeroDivisionError"):
        Child("a", operator.truediv, 1, 0)


def test_nothing_more_is_begun_when_the_time_is_over() -> None:
    assert not Settings().late()
    assert Settings().within(-1.0).late()
    assert not Settings("full").within(-1.0).late()
    rows = training_step.run(Settings().within(-1.0))
    assert len(rows) == 6 and all("too slow" in str(row.facts["not measured"]) for row in rows)


def test_the_reference_has_the_paper_s_size_and_arithmetic() -> None:
    with torch.device("meta"):
        training = ReferenceTraining(256, "meta")
        lightness, color = torch.empty(1, 1, 256, 256), torch.empty(1, 2, 256, 256)
        with FlopCounterMode(display=False) as counter:
            training.step(lightness, color)
    assert counter.get_total_flops() == pytest.approx(86.0e9, rel=0.001)
    networks = (training.generator, training.discriminator)
    counts = [sum(each.numel() for each in network.parameters()) for network in networks]
    assert counts == pytest.approx([54.4e6, 2.8e6], rel=0.02)


def test_the_reference_step_does_what_the_training_s_own_step_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_dropout(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        return x

    monkeypatch.setattr(F, "dropout", no_dropout)
    config = TrainingConfig(size=32, width=8, discriminator_width=8, norm="batch", batch_size=2)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    bank = PhotoBank(pixels)
    ours = Training(config, bank, bank, torch.device("cpu"), SpeedConfig(precision="float32"))
    reference = ReferenceTraining(32, width=8)
    assert ours.discriminators is not None
    generator, discriminator = ours.generator, ours.discriminators["patches"]
    copy_layers(
        [*generator.down, *generator.up, *generator.down_norm, *generator.up_norm],
        reference.generator,
    )
    copy_layers([*discriminator.convolutions, *discriminator.norms], reference.discriminator)
    rgb = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    generator.train()
    for _ in range(3):
        losses = torch.stack(reference.step(*lab.encode(rgb, "lab"))).detach()
        sample = ours.sampler.of_photographs(rgb)
        assert torch.allclose(ours.steps.adversarial(sample), losses, rtol=1e-3)


def copy_layers(layers: list[torch.nn.Module], target: torch.nn.Module) -> None:
    """Copy convolutions in their order, and normalisations in theirs."""
    wanted = [layer for layer in layers if list(layer.parameters())]
    for kind in (torch.nn.BatchNorm2d, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
        sources = [layer for layer in wanted if isinstance(layer, kind)]
        targets = [layer for layer in target.modules() if isinstance(layer, kind)]
        for source, each in zip(sources, targets, strict=True):
            each.load_state_dict(source.state_dict())


def test_the_machine_the_versions_and_the_commit_are_told() -> None:
    machine = about_machine()
    assert machine["cpu"] and machine["cores"] and machine["threads"]
    assert machine["versions"]["torch"] == torch.__version__
    assert {"python", "colorgan", "ray"} <= machine["versions"].keys()
    assert "commit" in machine and isinstance(machine["dirty"], bool)


def test_scenes_are_as_many_different_photographs_as_are_wanted() -> None:
    encoded = photographs.photographs(Settings(), 6)
    assert len(set(encoded)) == 6


def test_a_folder_with_too_few_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="holds 0 photographs of 2"):
        photographs.photographs(Settings(photos=tmp_path), 2)


def test_a_benchmark_that_fails_does_not_cost_the_others_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(settings: Settings) -> list[Result]:
        raise Unavailable("no such thing here")

    def works(settings: Settings) -> list[Result]:
        return [Result("works", "case", "ours", 2.0, "ms", Spread(1.5, 1.25, 2.0))]

    path = tmp_path / "new" / "results.json"
    status = run_all({"fails": lambda: fails, "works": lambda: works}, Settings(), path)
    assert status == 1
    written = json.loads(path.read_text())
    assert written["failed"] == {"fails": "no such thing here"}
    assert written["results"][0]["ratio"] == {"median": 1.5, "low": 1.25, "high": 2.0}
    printed = capsys.readouterr().out
    assert "1.50 (1.25-2.00)" in printed and "no such thing here" in printed

    before = path.read_bytes()
    assert run_all({"works": lambda: works}, Settings(), path) == 2, "it is not replaced unasked"
    assert path.read_bytes() == before
    assert run_all({"works": lambda: works}, Settings(), path, overwrite=True) == 0
    assert run_all({"works": lambda: works}, Settings(), path, True, [path]) == 2


def test_an_unknown_benchmark_is_an_error_that_lists_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        face.main(["nonsense"])
    assert "training_step" in capsys.readouterr().err


def test_the_memory_of_a_service_is_counted_by_deployment() -> None:
    """A process of Ray is known by its title, which it changes."""
    held = "import sys; x = bytearray(b'1') * 2**25; print(1, flush=True); sys.stdin.read()"
    titles = {
        "ray::ServeReplica:colorgan:people": "people",
        "ray::SERVE_REPLICA::colorgan#x#1:ServeReplica:colorgan:x.check_health": "x",
        "ray::ServeController": "ServeController",
        "ray::ProxyActor": "ProxyActor",
        "ray::IDLE": "other workers",
        "raylet": "Ray itself",
    }
    # One parent, since this process may have a Ray of its own among its children.
    each = """python="$1" program="$2"; shift 2
for title; do (exec -a "$title" "$python" -c "$program") <&0 & done; wait"""
    parent = subprocess.Popen(
        ["bash", "-c", each, "parent", sys.executable, held, *titles],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        for _ in titles:
            assert parent.stdout and parent.stdout.readline()
        root = psutil.Process(parent.pid)
        used = serve_memory.memory(root)
        assert len(serve_memory.replicas(root)) == 2
    finally:
        parent.communicate()  # the end of their input ends them
    assert all(32 < used[part] < 64 for part in titles.values()), used


def run_quick(name: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Run a benchmark at its smallest scale; returns its rows of the JSON."""
    path = folder / f"{name}.json"
    assert face.main([name, *options, "--quick", "--json", str(path)]) == 0
    written = json.loads(path.read_text())
    assert written["machine"]["versions"]["torch"] == torch.__version__
    assert {"cpu", "commit", "dirty"} <= written["machine"].keys()
    assert written["seconds"].keys() == {name}
    rows: list[dict[str, Any]] = written["results"]
    assert rows and all(row["benchmark"] == name for row in rows)
    assert all(row["value"] is not None for row in rows), rows
    return rows


def check_contenders(rows: list[dict[str, Any]], unit: str, *ours: str) -> None:
    """Every contender stands beside the reference and the reference again."""
    found = {row["variant"]: row for row in rows}
    assert found[AGAIN]["ratio"]
    for name in ours:
        assert found[name]["unit"] == unit and found[name]["ratio"]


def test_the_inference_benchmark_runs(tmp_path: Path) -> None:
    rows = run_quick("inference", tmp_path)
    check_contenders(rows, "ms", "colorgan", "bfloat16 eager")
    moved = {row["variant"]: row["facts"].get("levels") for row in rows}
    # In float32 the last digits differ, since the convolutions' layout does.
    rounded = fastest_dtype(torch.device("cpu")) == torch.bfloat16
    assert 1e-3 < moved["colorgan"] < 2 if rounded else moved["colorgan"] < 1e-3
    assert 0 < moved["bfloat16 eager"] < 2


def test_the_staging_benchmark_runs(tmp_path: Path) -> None:
    rows = run_quick("staging", tmp_path)
    check_contenders(
        [row for row in rows if row["unit"] == "images/s"], "images/s", "colorgan stage"
    )
    reading = [row for row in rows if row["case"].startswith("reading")]
    check_contenders(reading, "MiB/s", "colorgan Dataset.rows")


@pytest.mark.slow
@pytest.mark.usefixtures("embedded")
def test_the_benchmark_of_old_prints_runs(tmp_path: Path) -> None:
    rows = run_quick("old_prints", tmp_path)
    found = {(row["case"], row["variant"]): row for row in rows}
    assert len({row["case"] for row in rows}) == 15
    assert found["clean", "--restore"]["facts"]["mended"] == 0
    assert found["clean", "--restore"]["value"] == found["clean", "without"]["value"]
    for wear in ("border", "faded", "worn"):
        assert found[wear, "--restore"]["facts"]["mended"] == 3


@pytest.mark.slow
def test_the_pipeline_benchmark_runs(tmp_path: Path) -> None:
    rows = run_quick("pipeline", tmp_path)
    check_contenders(rows, "ms", "colorgan, whole")
    shares = [float(row["facts"]["share"].rstrip("%")) for row in rows if "share" in row["facts"]]
    assert len(shares) == 7
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.slow
def test_the_scaling_benchmark_runs(tmp_path: Path) -> None:
    rows = run_quick("scaling", tmp_path)
    cases = {row["case"] for row in rows if row["unit"] == "exponent"}
    assert len(cases) == 6
    assert all("R²" in row["facts"] for row in rows if row["unit"] == "exponent")


@pytest.mark.slow
def test_the_router_benchmark_runs_by_its_own_face_on_files(tmp_path: Path) -> None:
    files = photographs.photographs(Settings(), 18)
    photographs.write(tmp_path / "photos", files)
    path = tmp_path / "router.json"
    given = [str(file) for file in sorted((tmp_path / "photos").iterdir())]
    assert face.main(["router", *given, "--rounds", "1", "--json", str(path)]) == 0
    check_contenders(json.loads(path.read_text())["results"], "images/s", "colorgan classify")


@pytest.fixture
def starts_warm(warm: WarmStart, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a benchmark and the workers of its Ray start warm."""
    for name, value in warm.variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("starts_warm")
def test_the_train_all_benchmark_runs(tmp_path: Path) -> None:
    rows = run_quick("train_all", tmp_path)
    cases = {row["case"].split(",")[0] for row in rows}
    assert {"an epoch", "three models trained", "start-up"} <= cases
    ray = [row for row in rows if row["variant"] == "jobs/train_all.py on Ray"]
    assert len(ray) == 5 and all(row["ratio"] for row in ray)


@pytest.mark.slow
@pytest.mark.usefixtures("starts_warm")
def test_the_service_is_measured_with_untrained_generators(tmp_path: Path) -> None:
    rows = run_quick("serve_load", tmp_path, "--untrained")
    found = {(row["case"].split(",")[0], row["variant"]): row for row in rows}
    assert found["at saturation", "HTTP"]["ratio"]
    assert "p99 ms" in found["at saturation", "HTTP"]["facts"]
    assert found["one alone", "HTTP"]["unit"] == "ms"


@pytest.mark.slow
def test_a_compiled_generator_draws_the_same(tmp_path: Path) -> None:
    config = GeneratorConfig(size=32, width=16)
    arguments = (config, 1, "cpu", torch.float32, str(tmp_path))
    with Child("compiled", inference.make_compiled, *arguments) as child:
        assert interleave([child.variant], ONCE).median("compiled") > 0
        facts, _ = child.end()
    assert float(facts["levels"]) < 0.1


def test_without_a_compiler_nothing_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    for name in ("COLORGAN_CACHE", "TORCHINDUCTOR_CACHE_DIR"):  # which it sets
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(Unavailable, match=r"needs a C\+\+ compiler"):
        inference.make_compiled(GeneratorConfig(size=32), 1, "cpu", torch.float32, str(tmp_path))
