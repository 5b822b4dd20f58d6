"""A web page that shows running and finished sweeps.

    python -m tune.dashboard --sweep NAME

It only reads storage, so it needs no Ray and works wherever storage can be read. The service has
the same pages under /sweeps.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.params import Depends
from fastapi.responses import FileResponse, RedirectResponse, Response

from colorgan.commands.process import add_storage_option, guarded
from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import find_lease
from colorgan.sweeps.documents import (
    METRICS,
    Sweep,
    TrialState,
    list_sweeps,
    open_sweep,
    read_history,
    read_state,
)
from colorgan.sweeps.results import best_epoch
from colorgan.web.listening import address, listen, reserved, run_server
from colorgan.web.methods import answer_head_and_options
from colorgan.web.pages import PAGE_HEADERS, PageFiles, mount_shared_files
from colorgan.web.problems import PROBLEMS, Problem, answer_with_problems

_FILES = Path(__file__).parent / "page"
# Plotly inserts inline styles into the page.
_PLOTTED = {
    **PAGE_HEADERS,
    "Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"].replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    ),
}
# Browsers may cache pictures: one that is written again has the same contents.
_KEPT = {**PAGE_HEADERS, "Cache-Control": "private, max-age=3600"}
_RECENT = 5  # epochs whose mean time predicts the time of the remaining ones
_SILENCE_S = 120.0  # a trial, or a job, that has written nothing for so long may be dead
_SLOW = 3  # a trial's epoch may take so many times as long as those before it

# Training times of the 2018 report (section 4): 8, 4 and 3 hours for 50 epochs with batch sizes 1,
# 5 and 10, and half the time for 128 instead of 256 px. The page compares the latter with any
# halving of the image size.
REPORT_HOURS = {1: 8, 5: 4, 10: 3}
REPORT_SHARE_OF_HALF_THE_SIZE = 1 / 2


def create_sweep_routes(storage: Storage, guarded: Sequence[Depends] = ()) -> APIRouter:
    """Create the routes of the sweeps' pages; all but the static pages require the API key.

    Args:
        storage: storage of the sweeps.
        guarded: dependencies that check the API key.
    """
    routes = APIRouter()
    documented: Any = {
        "responses": {
            404: {**PROBLEMS[503], "description": "There is none"},
            **{status: PROBLEMS[status] for status in (401, 422, 503)},
        },
        "dependencies": list(guarded),
    }
    webp = {200: {"description": "A picture", "content": {"image/webp": {}}}}
    pictured = {
        **documented,
        "responses": {**webp, **documented["responses"]},
        "response_class": Response,
    }

    @routes.get("/sweeps", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(_FILES / "sweeps.html", headers=PAGE_HEADERS)

    @routes.get("/sweeps/{sweep}", include_in_schema=False)
    def page(sweep: str) -> FileResponse:
        return FileResponse(_FILES / "sweep.html", headers=_PLOTTED)

    @routes.get("/sweeps-data", **documented)
    def sweeps() -> list[dict[str, Any]]:
        """List the sweeps in storage."""
        return [_headline(storage, _opened(storage, name)) for name in _listed(storage)]

    @routes.get("/sweeps/{sweep}/data", **documented)
    def data(sweep: str) -> dict[str, Any]:
        """Return a sweep with the trials' results so far."""
        try:
            return describe(storage, _opened(storage, sweep))
        except ColorganError as error:
            raise Problem(503, str(error)) from None

    @routes.get("/sweeps/{sweep}/photographs/{photo}/{kind}", **pictured)
    def photograph(sweep: str, photo: str, kind: str) -> Response:
        """Return a photograph that every trial colours, `gray` or `original`."""
        opened = _opened(storage, sweep)
        if photo not in opened.photographs or kind not in ("gray", "original"):
            raise Problem(404, "the sweep has no such photograph")
        return _picture(storage, opened.photograph_key(photo, kind))

    @routes.get("/sweeps/{sweep}/trials/{trial}/{epoch}/{photo}", **pictured)
    def picture(sweep: str, trial: str, epoch: int, photo: str) -> Response:
        """Return a trial's colouring of a photograph after an evaluated epoch."""
        opened = _opened(storage, sweep)
        known = trial in {plan.name for plan in opened.trials} and photo in opened.photographs
        if not known or not 0 < epoch < 10**5:
            raise Problem(404, "the sweep has no such picture")
        return _picture(storage, opened.picture_key(trial, epoch, photo))

    return routes


def mount_sweep_files(api: FastAPI) -> None:
    """Serve the static files of the sweeps' pages."""

    @api.get("/sweeps-page/plotly.js", include_in_schema=False)
    def plotly() -> Response:
        return Response(_plotly(), media_type="text/javascript", headers=_KEPT)

    api.mount("/sweeps-page", PageFiles(directory=_FILES), name="sweeps-page")


@lru_cache
def _plotly() -> bytes:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).encode()


def _opened(storage: Storage, name: str) -> Sweep:
    try:
        return open_sweep(storage, name)
    except (NotInStorage, ConfigError) as error:
        raise Problem(404, str(error)) from None
    except ColorganError as error:
        raise Problem(503, str(error)) from None


def _listed(storage: Storage) -> list[str]:
    try:
        return list_sweeps(storage)
    except ColorganError as error:
        raise Problem(503, str(error)) from None


def _picture(storage: Storage, key: str) -> Response:
    try:
        return Response(storage.get(key), media_type="image/webp", headers=_KEPT)
    except NotInStorage:
        raise Problem(404, "there is no such picture yet") from None
    except ColorganError as error:
        raise Problem(503, str(error)) from None


def _headline(storage: Storage, sweep: Sweep) -> dict[str, Any]:
    alive = _has_job(storage, sweep)
    states = [_status(read_state(storage, sweep, plan.name), alive) for plan in sweep.trials]
    return {
        "name": sweep.name,
        "created": sweep.created,
        "model": sweep.model,
        "dataset": sweep.dataset["name"],
        "trials": {status: states.count(status) for status in dict.fromkeys(states)},
    }


def describe(storage: Storage, sweep: Sweep) -> dict[str, Any]:
    """A sweep as JSON for its page; raises Corrupt."""
    now, alive = time.time(), _has_job(storage, sweep)
    trials = []
    for plan in sweep.trials:
        state = read_state(storage, sweep, plan.name)
        history = read_history(storage, sweep, plan.name)
        epochs = sweep.config(state.values).epochs
        recent = [record.seconds for record in history.epochs[-_RECENT:]]
        each = sum(recent) / len(recent) if recent else None
        status, silence = _status(state, alive), now - state.updated
        overdue = status == "running" and silence > max(_SILENCE_S, _SLOW * (each or 0))
        trials.append(
            {
                "name": plan.name,
                "status": status,
                "values": plan.values,
                "now": state.values,
                "epoch": state.epoch,
                "epochs": epochs,
                "eta": (epochs - state.epoch) * each if each and status == "running" else None,
                "silent": silence if overdue else 0,
                "device": state.device,
                "error": state.error,
                "reason": state.reason,
                "takeovers": [_finite(asdict(each)) for each in state.takeovers],
                "records": [_finite(asdict(record)) for record in history.epochs],
                "evaluations": [_finite(asdict(each)) for each in history.evaluations],
            }
        )
    return {
        "name": sweep.name,
        "created": sweep.created,
        "model": sweep.model,
        "dataset": sweep.dataset["name"],
        "eval_every": sweep.eval_every,
        "scheduler": sweep.scheduler,
        "metric": sweep.metric,
        "best": _best(storage, sweep),
        "varied": list(sweep.trials[0].values),
        "metrics": METRICS,
        "photographs": sweep.photographs,
        "trials": trials,
        "timing": timing(storage, sweep),
    }


def _best(storage: Storage, sweep: Sweep) -> dict[str, Any] | None:
    """The best evaluated epoch by the sweep's metric; None if no trial has a value."""
    metric = sweep.metric or next(iter(METRICS))
    best = best_epoch(storage, sweep, metric)
    if best is None:
        return None
    value = getattr(best.evaluated, metric)
    return {"trial": best.trial, "epoch": best.evaluated.epoch, "metric": metric, "value": value}


def _status(state: TrialState, alive: bool | None) -> str:
    """A trial's status; one that trains is interrupted if its job has died."""
    dead = alive is False and state.status in ("running", "paused")
    return "interrupted" if dead else state.status


def _has_job(storage: Storage, sweep: Sweep) -> bool | None:
    """Whether a job works on the sweep, by its lease; None if there is none."""
    lease = find_lease(storage, f"runs/{sweep.name}")
    return None if lease is None else not lease.presumed_dead()


def timing(storage: Storage, sweep: Sweep) -> list[dict[str, Any]]:
    """Seconds per epoch by batch size and image size, compared with the 2018 report.

    Each time is also given as a share of the time at the smallest batch size with the same image
    size, and at the largest image size with the same batch size, next to the report's shares.
    """
    seconds = _seconds_an_epoch(storage, sweep)
    batches, sizes = ({pair[place] for pair in seconds} for place in (0, 1))
    lines = []
    for (batch, size), mean in sorted(seconds.items(), key=lambda item: (-item[0][1], item[0][0])):
        smallest, largest = seconds.get((min(batches), size)), seconds.get((batch, max(sizes)))
        known = {batch, min(batches)} <= REPORT_HOURS.keys()
        report_batch = REPORT_HOURS[batch] / REPORT_HOURS[min(batches)] if known else None
        report_size = REPORT_SHARE_OF_HALF_THE_SIZE if 2 * size == max(sizes) else None
        lines.append(
            {
                "batch_size": batch,
                "size": size,
                "seconds": mean,
                "share_of_smallest_batch": mean / smallest if smallest else None,
                "report_share_of_smallest_batch": report_batch,
                "share_of_largest_size": mean / largest if largest else None,
                "report_share_of_largest_size": report_size,
            }
        )
    return lines


def _seconds_an_epoch(storage: Storage, sweep: Sweep) -> dict[tuple[int, int], float]:
    """Mean seconds per epoch by (batch size, image size), where any epoch is done."""
    seconds: dict[tuple[int, int], list[float]] = {}
    for plan in sweep.trials:
        config = sweep.config(read_state(storage, sweep, plan.name).values)
        records = read_history(storage, sweep, plan.name).epochs
        pair = (config.batch_size, config.size)
        seconds.setdefault(pair, []).extend(record.seconds for record in records)
    return {pair: sum(each) / len(each) for pair, each in seconds.items() if each}


def _finite(numbers: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON does not support, by None."""
    return {name: value if value == value else None for name, value in numbers.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Show sweeps until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tune.dashboard", description=__doc__)
    add_storage_option(parser)
    parser.add_argument("--sweep", metavar="NAME", help="sweep to show (default: a list of all)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8100, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    return guarded(lambda: _show(args))


def _show(args: argparse.Namespace) -> int:
    import uvicorn

    if not 0 < args.port < 65536:
        raise ConfigError("--port must be from 1 to 65535")
    storage = open_storage(args.storage)
    if args.sweep:
        open_sweep(storage, args.sweep)
    home = f"/sweeps/{args.sweep}" if args.sweep else "/sweeps"
    with reserved(args.host, args.port) as bound:
        listen(bound)
        print(f"{address(args.host, args.port)}{home}", flush=True)
        run_server(uvicorn.Config(create_dashboard(storage, home), log_level="warning"), bound)
    return 0


def create_dashboard(storage: Storage, home: str = "/sweeps") -> FastAPI:
    """Create the dashboard as a separate application, which redirects / to `home`."""
    api = FastAPI(title="colorgan sweeps", docs_url=None, redoc_url=None)
    answer_with_problems(api)
    answer_head_and_options(api)
    api.include_router(create_sweep_routes(storage))
    mount_sweep_files(api)
    mount_shared_files(api)

    @api.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse(home)

    return api


if __name__ == "__main__":
    sys.exit(main())
