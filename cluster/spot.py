"""Watch for the preemption notice of this spot machine, and forward it to Ray.

    python -m cluster.spot {aws,gcp}

A cluster file starts it beside Ray on every spot machine. After the notice, Ray places nothing
more on the machine, and the trainings there save their state and continue elsewhere.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import requests

_POLL_SECONDS = 2.0
_TIMEOUT = 2.0

# Google gives half a minute, and its notice does not say when that ends.
_GCP_SECONDS = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Watch until the notice comes; returns the exit status of `ray drain-node`."""
    parser = argparse.ArgumentParser(prog="python -m cluster.spot", description=__doc__)
    parser.add_argument("cloud", choices=("aws", "gcp"), help="cloud that runs the machine")
    parser.add_argument(
        "--metadata",
        metavar="URL",
        help="address of the cloud's metadata service (default: the cloud's own)",
    )
    args = parser.parse_args(argv)
    notice = aws_notice if args.cloud == "aws" else gcp_notice
    address = args.metadata or (
        "http://169.254.169.254" if args.cloud == "aws" else "http://metadata.google.internal"
    )
    while True:
        try:
            left = notice(address)
        except (requests.RequestException, ValueError, LookupError) as error:
            print(f"no answer from {address}: {type(error).__name__}", file=sys.stderr, flush=True)
            left = None
        if left is not None:
            print(f"the machine is taken away in {left:.0f} s: telling Ray", flush=True)
            return _drain(left)
        time.sleep(_POLL_SECONDS)


def aws_notice(address: str) -> float | None:
    """Seconds until AWS takes the machine back, from IMDSv2; None without a notice."""
    token = requests.put(
        f"{address}/latest/api/token",
        headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"},
        timeout=_TIMEOUT,
    )
    token.raise_for_status()
    answer = requests.get(
        f"{address}/latest/meta-data/spot/instance-action",
        headers={"X-aws-ec2-metadata-token": token.text},
        timeout=_TIMEOUT,
    )
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    at = datetime.fromisoformat(json.loads(answer.text)["time"])
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def gcp_notice(address: str) -> float | None:
    """Seconds until Google takes the machine back; None without a notice."""
    answer = requests.get(
        f"{address}/computeMetadata/v1/instance/preempted",
        headers={"Metadata-Flavor": "Google"},
        timeout=_TIMEOUT,
    )
    answer.raise_for_status()
    return _GCP_SECONDS if answer.text.strip() == "TRUE" else None


def _drain(left: float) -> int:
    """Tell Ray that this node will be gone in `left` seconds; returns the command's exit status."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "drain-node"),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION"),
            *("--reason-message", "the spot machine is being taken away"),
            *("--deadline-remaining-seconds", str(int(left))),
        ]
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
