"""Reads epochs through Ray Data, as `ray_epoch.py STORAGE SIDE DATASET…`.

For every dataset and worker it prints a line of JSON: the sizes of the batches, and the SHA-256 of
every photograph, flipped or not; or the error.
"""

import hashlib
import json
import sys

import numpy as np

from cluster.connection import connected
from colorgan.data.dataset import open_dataset
from colorgan.data.squares import Selection
from colorgan.errors import ColorganError
from colorgan.images.decoding import Pixels
from colorgan.storage import open_storage
from colorgan.workers import Workers


def main(storage: str, side: int, names: list[str]) -> None:
    from cluster.streaming import RayStream  # imports Ray: see cluster.connection

    for name in names:
        dataset = open_dataset(open_storage(storage), name)
        stream = RayStream(Selection(dataset, dataset.manifest.classes, "train", side), cpus=2)
        for count in (1, 2):
            for rank in range(count):
                drawn = stream.batches(4, side, np.random.default_rng(0), 0, Workers(rank, count))
                try:
                    batches = [batch.permute(0, 2, 3, 1).numpy() for batch in drawn]
                except ColorganError as error:
                    print(json.dumps({"error": str(error)}), flush=True)
                    return
                sizes = [len(batch) for batch in batches]
                found = [digest(photograph) for batch in batches for photograph in batch]
                print(json.dumps({"sizes": sizes, "found": found}), flush=True)


def digest(rgb: Pixels) -> str:
    """The SHA-256 of a photograph, flipped or not, of which the lower one counts."""
    both = (np.ascontiguousarray(each).data for each in (rgb, rgb[:, ::-1]))
    return min(hashlib.sha256(each).hexdigest() for each in both)


if __name__ == "__main__":
    with connected():
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
