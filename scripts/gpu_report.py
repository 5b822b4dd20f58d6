"""Estimate the duration of the report's whole schedule from the epochs that were trained.

python scripts/gpu_report.py STORAGE
"""

import csv
import io
import statistics
import sys

from colorgan.storage import open_storage
from colorgan.training.presets import PRESETS


def main() -> int:
    """Print one line per model; returns the exit status."""
    storage = open_storage(sys.argv[1])
    preset = PRESETS["report"]
    for model in ("animals", "people", "vehicles", "general"):
        key = f"runs/report-{model}/{model}/history.csv"
        if not storage.exists(key):
            print(f"{model}: no epoch was finished")
            continue
        rows = list(csv.DictReader(io.StringIO(storage.get(key).decode())))
        # The first epoch includes kernel selection and memory allocation.
        seconds = statistics.median(float(row["seconds"]) for row in rows[1:] or rows)
        planned = preset.config(model, {}).epochs
        print(
            f"{model}: {len(rows)} epochs, {seconds:.2f} s each with the others beside it, "
            f"{float(rows[-1]['images_per_second']):.0f} images/s, validation L1 "
            f"{float(rows[-1]['val_l1']):.2f}; all {planned} would take {planned * seconds:.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
