"""Several workers take the steps of one."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from colorgan import cli
from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import SCHEMA, Dataset, open_dataset
from colorgan.data.features import look_once
from colorgan.packages.card import find
from colorgan.packages.weights import load_generator
from colorgan.storage import open_storage
from colorgan.training.checkpoints import Checkpoints
from colorgan.workers import Workers
from tests.conftest import CHECKOUT, SMALL, Job, history_epochs
from tests.data.test_features import Eyes, numbered
from tests.training.several_workers import CONFIGS, published, trained
from tests.training.test_phases import bank
from tests.warm.client import WarmStart

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(warm: WarmStart, log: Path, *arguments: str) -> Job:
    """A module and its arguments, run by two workers."""
    environment = {**os.environ, **warm.variables, "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*TORCHRUN, "-m", "--", *arguments],
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return Job(process, log)


@pytest.fixture(scope="module")
def of_two(warm: WarmStart, staged_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    shutil.copytree(staged_scenes, folder / "storage")
    module = "tests.training.several_workers"
    job = start(warm, folder / "log", module, ",".join(CONFIGS), str(folder))
    assert job.finish() == 0, job.output
    return folder


def read(folder: Path, name: str, rank: int) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{name}-{rank}.json").read_text())
    return {**record, "weights": torch.load(folder / f"{name}-{rank}.pt")}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_two_workers_take_the_steps_of_one(of_two: Path, name: str) -> None:
    one, first, second = trained(name), read(of_two, name, 0), read(of_two, name, 1)
    assert len(one["losses"]) == (22 if name in ("report", "best") else 11)
    for each in (first, second):
        losses = torch.tensor(each["losses"][:20]), torch.tensor(one["losses"][:20])
        torch.testing.assert_close(*losses, rtol=0, atol=1e-4)
        history = torch.tensor(each["history"]), torch.tensor(one["history"])
        torch.testing.assert_close(*history, rtol=1e-3, atol=1e-3)
    assert first["weights"].keys() == second["weights"].keys() == one["weights"].keys()
    for tensor, other in zip(first["weights"].values(), second["weights"].values(), strict=True):
        assert torch.equal(tensor, other)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["shared", "own", "memory"])
def test_two_workers_compute_a_share_of_the_features_each(of_two: Path, where: str) -> None:
    records = [json.loads((of_two / f"features-{rank}.json").read_text()) for rank in (0, 1)]
    alone = look_once(numbered(), Eyes().looker, mirrored=True)
    assert alone
    # Parts of 256, 44 and 40 photographs, each straight and mirrored.
    assert [record[where][0] for record in records] == [2 * (256 + 40), 2 * 44]
    for record in records:
        assert record[where][1] == torch.cat([*alone.in_order(64)]).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_no_thread_of_the_workers_group_is_left_at_their_end(of_two: Path, rank: int) -> None:
    assert "gloo" not in (of_two / f"threads-{rank}").read_text()


@pytest.mark.slow
def test_two_workers_divide_a_stream(of_two: Path) -> None:
    storage = open_storage(str(of_two / "storage"))
    result = json.loads(storage.get("runs/streamed-by-two/animals/result.json"))
    photographs = open_dataset(storage, "scenes").count(["animals"], "train")
    assert (result["status"], result["epochs"]) == ("done", 2)
    assert result["photographs"] == photographs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "best"])
def test_two_workers_publish_the_package_of_one(of_two: Path, name: str) -> None:
    storage = open_storage(str(of_two / "storage"))
    published(name, open_dataset(storage, "scenes"), f"{name}-of-one")
    results = [
        json.loads(storage.get(f"runs/{name}-of-{number}/animals/result.json"))
        for number in ("two", "one")
    ]
    cards = [find(storage, result["package"]) for result in results]
    assert cards[0].metrics["val_l1"] == pytest.approx(cards[1].metrics["val_l1"], abs=0.01)
    two, one = (load_generator(storage, card).state_dict() for card in cards)
    for key, tensor in two.items():
        torch.testing.assert_close(tensor, one[key], rtol=0.01, atol=0.01)


@pytest.mark.slow
def test_ctrl_c_stops_two_workers_at_the_same_step_and_one_goes_on(
    warm: WarmStart, scenes: Dataset, tmp_path: Path
) -> None:
    command = ["train", "--storage", scenes.storage.uri, "--dataset", "scenes", "--run", "r"]
    command += ["--model", "animals", *SMALL, "--epochs", "30", "--photographs", "4"]
    job = start(warm, tmp_path / "log", "colorgan", *command)
    job.wait_for(lambda: "animals: epoch 2/30" in job.output)
    job.process.send_signal(signal.SIGINT)
    job.finish()
    assert "stopped; run the same command with --run r to continue" in job.output
    assert job.output.count("run r: animals on cpu, 2 workers, preset small") == 1
    assert job.output.count("animals: epoch 1/30") == 1
    epochs, steps = Checkpoints(scenes.storage, "runs/r/animals").position()
    assert 2 <= epochs < 30 and steps < 2
    assert cli.main(command) == 0
    assert history_epochs(scenes.storage, "animals") == list(range(1, 31))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_the_workers_parts_make_up_every_batch(count: int, size: int) -> None:
    photographs: PhotoBank = bank(9, 0, 8)
    whole = list(photographs.batches(size, 7, np.random.default_rng(0)))
    workers = [Workers(rank, count) for rank in range(count)]
    parts = [[*photographs.batches(size, 7, np.random.default_rng(0), 0, w)] for w in workers]
    for number, batch in enumerate(whole):
        mine = [part[number] for part, w in zip(parts, workers, strict=True)]
        real = [w.bounds(len(batch)) for w in workers]
        taken = [each[: end - begin] for each, (begin, end) in zip(mine, real, strict=True)]
        assert all(len(each) >= 1 for each in mine), "a worker without a part computes something"
        assert torch.equal(torch.cat(taken), batch)
    in_order = torch.cat([each for w in workers for each in photographs.in_order(2, w)])
    assert torch.equal(in_order, torch.cat([*photographs.in_order(2)]))


def break_photograph(dataset: Dataset, label: str, place: int) -> None:
    """Replace a staged training photograph of a class by other bytes; checksums are right."""
    (shard,) = dataset.shards([label], "train")
    key = f"datasets/{dataset.manifest.name}/{shard.key}"
    rows = pq.read_table(io.BytesIO(dataset.storage.get(key))).to_pylist()
    rows[place]["image"]["bytes"] = b"not a photograph"
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file, compression="none")
    data = file.getvalue()
    dataset.storage.put(key, data)
    path = f"datasets/{dataset.manifest.name}/manifest.json"
    document = json.loads(dataset.storage.get(path))
    for each in document["shards"]:
        if each["key"] == shard.key:
            each |= {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
    dataset.storage.put(path, json.dumps(document).encode())


@pytest.mark.slow
def test_what_one_worker_cannot_read_ends_both_with_one_sentence(
    warm: WarmStart, scenes: Dataset, tmp_path: Path
) -> None:
    break_photograph(scenes, "animals", 0)
    command = ["train", "--storage", scenes.storage.uri, "--dataset", "scenes", "--run", "r"]
    command += ["--model", "animals", *SMALL, "--epochs", "2", "--data", "stream"]
    job = start(warm, tmp_path / "log", "colorgan", *command)
    assert job.finish() == 1, job.output
    (said,) = re.findall("^error: (.*)", job.output, re.MULTILINE)
    assert said.startswith("the photograph scenes:animals/") and "not an image" in said
    assert job.output.count("Traceback") == 1, "that of torchrun alone, which tells of the status"


@pytest.mark.slow
def test_a_worker_that_fails_alone_ends_and_so_do_the_others(
    warm: WarmStart, tmp_path: Path
) -> None:
    logs = [tmp_path / f"log-{rank}" for rank in (0, 1)]
    jobs = []
    for rank, log in enumerate(logs):
        command = ("-m", "tests.training.lost_worker", str(rank), str(tmp_path / "store"))
        with log.open("w") as output, Path(os.devnull).open() as nothing:
            process = warm.start(command, dict(os.environ), CHECKOUT, (nothing, output, output))
        jobs.append(Job(process, log))
    assert [job.finish() for job in jobs] == [1, 1], [log.read_text() for log in logs]
    assert logs[0].read_text().startswith("error: another worker of this training has ended")
    assert logs[1].read_text() == "known to all\nerror: met by one alone\n"
