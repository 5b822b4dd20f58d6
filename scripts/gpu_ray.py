"""Check Ray on a GPU: three models sharing it, a killed training process, and Ray Serve.

    python scripts/gpu_ray.py --storage FOLDER [--json FILE] [--small]

Starts a private Ray, and stops it at the end. --small is a rehearsal on the CPU.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import yaml

from benchmarks.photographs import scenes
from cluster.local import LocalRay, free_ports, local_ray
from colorgan.data.scenes import CLASSES
from colorgan.storage import Storage, open_storage

_CHECKOUT = Path(__file__).parents[1]
_RUN = "gpu"
_LIMIT_S = 150.0
_CLIENTS = 16


def main() -> int:
    """Run both parts; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--storage", required=True)
    parser.add_argument("--json", type=Path, help="write what was found there, too")
    parser.add_argument("--small", action="store_true", help="a rehearsal on the CPU")
    args = parser.parse_args()
    storage = open_storage(args.storage)
    found: dict[str, Any] = {}
    with local_ray(_CHECKOUT) as ray:
        for name, part in (("training", _train), ("service", _serve)):
            found[name] = part(storage, ray, args.small)
            print(name, json.dumps(found[name]), flush=True)
            if args.json:
                args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _environment(ray: LocalRay) -> dict[str, str]:
    return {
        **os.environ,
        **ray.environment,
        "RAY_ADDRESS": ray.address,
        "RAY_DASHBOARD_ADDRESS": ray.jobs_address,
    }


def _train(storage: Storage, ray: LocalRay, small: bool) -> dict[str, Any]:
    """Train three models at once, kill the process of one of them, and read the summary."""
    run = [sys.executable, "-m", "colorgan", "stage", "scenes", "--storage", storage.uri]
    count, size = ("24", "64") if small else ("200", "286")
    run += ["--dataset", "scenes", "--per-class", count, "--size", size, "--min-side", "32"]
    subprocess.run(run, check=True)
    options = ["--preset=small", "--checkpoint-every=1", f"--run={_RUN}", "--retries=2"]
    if small:
        options += ["--size=32", "--width=4", "--discriminator-width=4", "--epochs=3"]
        options += ["--device=cpu"]
    else:
        options += ["--size=256", "--width=64", "--discriminator-width=64", "--epochs=8"]
        options += ["--device=gpu", "--gpus-per-model=0.33"]
    command = [sys.executable, "jobs/train_all.py", f"--storage={storage.uri}", "--dataset=scenes"]
    process = subprocess.Popen(
        [*command, *options],
        cwd=_CHECKOUT,
        env=_environment(ray),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    worker, killed = 0, 0
    assert process.stdout
    for line in process.stdout:
        print("  " + line, end="", flush=True)
        if found := re.search(r"people: training \(.* process (\d+)\)", line):
            worker = int(found[1])
        if "people: epoch 2/" in line and not killed:
            killed = worker
            os.kill(killed, signal.SIGKILL)
            print(f"  killed {killed}, the process that trains people", flush=True)
    if process.wait(_LIMIT_S):
        raise SystemExit(f"jobs/train_all.py ended with status {process.returncode}")
    summary = json.loads(storage.get(f"runs/{_RUN}/summary.json"))
    models = summary["models"]
    failed = [model["model"] for model in models if model["status"] != "done"]
    overlap = min(m["ended"] for m in models) - max(m["started"] for m in models)
    if failed or overlap <= 0 or not killed:
        raise SystemExit(f"failed: {failed}, overlap: {overlap:.1f} s, killed process: {killed}")
    return {
        "wall_seconds": summary["wall_seconds"],
        "sum_seconds": summary["sum_seconds"],
        "all_three_at_once_seconds": overlap,
        "killed_process": killed,
        "devices": sorted({model["device"] for model in models}),
        "images_per_second": {model["model"]: model["images_per_second"] for model in models},
    }


def _serve(storage: Storage, ray: LocalRay, small: bool) -> dict[str, Any]:
    """Deploy the models, each generator on a quarter of the GPU, and time requests."""
    document = yaml.safe_load((_CHECKOUT / "serve" / "production.yaml").read_text())
    (port,) = free_ports(1)
    document["http_options"]["port"] = port
    application = document["applications"][0]
    application["args"]["storage"] = storage.uri
    application["args"]["compile"] = False
    for deployment in application["deployments"]:
        deployment.pop("autoscaling_config", None)
        options = {"num_cpus": 0.1}
        if deployment["name"] in CLASSES and not small:
            options["num_gpus"] = 0.25
        deployment["ray_actor_options"] = options
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(document, file)
        file.flush()
        subprocess.run(
            [sys.executable, "-m", "serve.deploy", file.name],
            cwd=_CHECKOUT,
            env=_environment(ray),
            check=True,
        )
    address = f"http://127.0.0.1:{port}"
    _until_healthy(address)
    photographs = list(scenes(_CLIENTS))
    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(lambda photo: _color(address, photo), photographs))  # warm-up of every model
        began = time.perf_counter()
        rounds = 1 if small else 20
        list(pool.map(lambda photo: _color(address, photo), photographs * rounds))
        seconds = time.perf_counter() - began
    alone = [_color(address, photo) for photo in photographs]
    return {
        "images_per_second": len(photographs) * rounds / seconds,
        "one_alone_ms": 1000 * sorted(alone)[len(alone) // 2],
    }


def _until_healthy(address: str) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{address}/healthz", timeout=5).ok:
                return
        except requests.RequestException:  # it does not listen yet, or is too busy to answer
            pass
        time.sleep(0.5)
    raise SystemExit(f"the service is not healthy after {_LIMIT_S:g} s")


def _color(address: str, photograph: bytes) -> float:
    """Colour a photograph over HTTP; returns the duration in seconds."""
    began = time.perf_counter()
    answer = requests.post(
        f"{address}/colorize?format=jpeg", files={"file": photograph}, timeout=60
    )
    answer.raise_for_status()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
