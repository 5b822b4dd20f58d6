"""Reads an epoch through Ray Data, as `ray_epoch.py STORAGE DATASET SIDE`.

For every worker it prints a line of JSON: the sizes of the batches, and the SHA-256 of every
photograph, flipped or not.
"""

import hashlib
import json
import sys

import numpy as np

from cluster.connection import connected
from colorgan.data.dataset import open_dataset
from colorgan.data.squares import Selection
from colorgan.errors import ColorganError
from colorgan.storage import open_storage
from colorgan.workers import Workers


def main(storage: str, name: str, side: int) -> None:
    from cluster.streaming import RayStream

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
            found = [
                min(
                    hashlib.sha256(np.ascontiguousarray(each).data).hexdigest()
                    for each in (photograph, photograph[:, ::-1])
                )
                for batch in batches
                for photograph in batch
            ]
            sizes = [len(batch) for batch in batches]
            print(json.dumps({"workers": count, "sizes": sizes, "found": found}), flush=True)


if __name__ == "__main__":
    with connected():
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
