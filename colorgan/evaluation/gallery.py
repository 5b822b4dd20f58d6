"""The photographs on a report's page: the six at its top, and the gallery."""

import io
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from colorgan.errors import Corrupt
from colorgan.evaluation.page import data_uri
from colorgan.evaluation.results import IDENTITIES, METRICS, ORIGINAL, Report
from colorgan.evaluation.statistics import (
    ABSOLUTE,
    DESCRIPTIVE,
    colorers,
    contestants_of,
    metrics_of,
)

GALLERY = 300  # photographs; a page with more is too heavy for a phone
SAMPLES = 6  # photographs at the top of the page
_THUMBNAIL = 256
_QUALITY = 75
_THREADS = 8


def describe_gallery(report: Report, results: pd.DataFrame, most: int) -> dict[str, Any]:
    """The data from which the page's script builds the gallery, as JSON.

    Args:
        report: the report, which gives the pictures.
        results: as `Report.results` returns them.
        most: maximum number of photographs, which are sampled if there are more.

    Raises:
        NotInStorage: a picture is missing.
        Corrupt: a picture cannot be read.
    """
    everyone, metrics = contestants_of(results), metrics_of(results)
    ids = [str(photo) for photo in results["photo"].unique()]
    if len(ids) > most:
        drawn = np.random.default_rng(report.evaluation.seed).permutation(len(ids))[:most]
        ids = [ids[place] for place in sorted(drawn.tolist())]
    rows = {(str(row["photo"]), str(row["model"])): row for _, row in results.iterrows()}
    asked = [(photo, model) for photo in ids for model in everyone if (photo, model) in rows]
    with ThreadPoolExecutor(_THREADS) as pool:
        pictures = dict(
            zip(asked, pool.map(lambda pair: _thumbnail(report, *pair), asked), strict=True)
        )
    photos = []
    for photo in ids:
        own = [rows[photo, model] for model in everyone if (photo, model) in rows]
        photos.append(
            {
                "source": str(own[0]["source"]),
                "class": str(own[0]["class"]),
                "cells": [
                    {
                        **pictures[photo, model],
                        "sent": _text(rows[photo, model].get("sent_to")),
                        "values": [_value(rows[photo, model], model, name) for name in metrics],
                    }
                    if (photo, model) in pictures
                    else None
                    for model in everyone
                ],
            }
        )
    return {
        "all": int(results["photo"].nunique()),
        "models": list(everyone),
        "colorers": list(colorers(results)),
        "identities": [name for name in everyone if name in IDENTITIES],
        "metrics": [
            {"name": name, "judged": name not in DESCRIPTIVE, **asdict(METRICS[name])}
            for name in metrics
        ],
        "classes": sorted({photo["class"] for photo in photos}),
        "photos": photos,
    }


def choose_samples(gallery: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """Photographs of a gallery for the top of the page: each class in turn, drawn at random.

    Args:
        gallery: as `describe_gallery` returns it.
        seed: the seed of the choice.
    """
    photos: Sequence[dict[str, Any]] = gallery["photos"]
    order = np.random.default_rng(seed).permutation(len(photos)).tolist()
    by_class = [
        [photos[place] for place in order if photos[place]["class"] == label]
        for label in gallery["classes"]
    ]
    longest = max(map(len, by_class))
    turns = [own[turn] for turn in range(longest) for own in by_class if turn < len(own)]
    return turns[:SAMPLES]


def _value(row: pd.Series, model: str, metric: str) -> float | None:
    value = float(row[metric])
    if not math.isfinite(value) or (model == ORIGINAL and metric not in ABSOLUTE):
        return None
    return round(value, METRICS[metric].decimals + 3)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _thumbnail(report: Report, photo: str, contestant: str) -> dict[str, Any]:
    """A picture as a data URI of at most 256 px on its long side."""
    data = report.picture(photo, contestant)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        key = report.picture_key(photo, contestant)
        raise Corrupt(f"{key} in {report.storage.uri} is not a picture") from error
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    small = io.BytesIO()
    picture.save(small, "WEBP", quality=_QUALITY)
    uri = data_uri("image/webp", small.getvalue())
    return {"picture": uri, "width": picture.width, "height": picture.height}
