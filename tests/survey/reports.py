"""A report without a training, for surveys to ask about."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from colorgan.data.scenes import draw_scene
from colorgan.evaluation.results import Contestant, Evaluation, Report
from colorgan.storage import Storage

CLASSES = ("animals", "people", "vehicles")

MODELS = ("assembled", "general", "hypercolumn")

CONTESTANTS = (*MODELS, "gray", "original")
ANA, BEN, CAT = (digit * 32 for digit in "abc")


def write_report(
    storage: Storage,
    name: str = "compared",
    contestants: Sequence[str] = CONTESTANTS,
    per_class: int = 8,
    size: tuple[int, int] = (40, 32),
) -> Report:
    """A finished report of drawn scenes.

    The first three contestants paint all in red, green or blue, by which a test knows them.
    """
    evaluation = Evaluation(
        name=name,
        created="2026-11-22T12:00:00+00:00",
        dataset={"name": "drawn", "fingerprint": "0"},
        split="test",
        photographs=per_class * len(CLASSES),
        seed=0,
        classes=CLASSES,
        contestants=tuple(Contestant(each, f"{each}@1") for each in contestants),
        router="labels",
        classifier="none",
    )
    report = Report(storage, evaluation)
    storage.put(report.key("evaluation.json"), evaluation.to_json())
    rows = []
    for label in CLASSES:
        for seed in range(per_class):
            photo = f"{label[:2]}{seed:04d}"
            scene = Image.fromarray(draw_scene(label, seed, size[1], size[0])).convert("L")
            for place, model in enumerate(contestants):
                tint = np.full(3, 0.55)
                tint[place % 3] = 1
                rgb = np.asarray(scene)[..., None] * tint + 10
                buffer = io.BytesIO()
                Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(buffer, "WEBP")
                storage.put(report.picture_key(photo, model), buffer.getvalue())
                rows.append((photo, f"{label}/{seed}.jpg", label, model, "", 9.0))
    results = pd.DataFrame(rows, columns=["photo", "source", "class", "model", "sent_to", "l1"])
    storage.put(report.key("results.parquet"), results.to_parquet(index=False))
    return report
