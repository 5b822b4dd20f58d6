"""Serve the models in storage over HTTP: `make serve`, or python -m serve.

The service runs on Ray Serve, which is started if it is not running, or, with --local, in one
process.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.connection import connected
from colorgan.commands.process import add_storage_option, guarded
from colorgan.errors import ColorganError, ConfigError
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import AUTO, ROUTERS, RouterConfig
from colorgan.names import OBJECTS
from colorgan.options import add_options, parse
from colorgan.packages.services import recorded
from colorgan.storage import open_storage
from colorgan.system import keep_buffers
from colorgan.web.listening import address, listen, reserved, run_server
from serve.backend import LocalBackend, find_parts
from serve.browser import check_browser_models
from serve.config import ServeConfig
from serve.rollout import reason_of

if TYPE_CHECKING:
    from ray.serve.schema import ServeStatus

_APPLICATION = "colorgan"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m serve", description=__doc__)
    add_storage_option(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    parser.add_argument(
        "--models",
        metavar="MODEL@VERSION",
        nargs="+",
        default=[],
        help="pinned versions, also of the router's head; of other models the release is served",
    )
    parser.add_argument(
        "--router",
        choices=ROUTERS,
        default=AUTO,
        help="as for colorgan colorize (default: %(default)s)",
    )
    parser.add_argument(
        "--classes", metavar="FILE", default="", help="a file like colorgan/classes.toml"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the networks for this machine's CPU: about 40 seconds each, once",
    )
    parser.add_argument(
        "--one-process",
        action="store_true",
        help="run the router and all models in one process of Ray, which takes less memory",
    )
    parser.add_argument(
        "--local", action="store_true", help="serve in one process without Ray, for a laptop"
    )
    parser.add_argument(
        "--no-objects",
        action="store_true",
        help="leave out model=objects, and the detector that it needs",
    )
    parser.add_argument(
        "--browser-models",
        type=Path,
        metavar="DIR",
        help="a folder of colorgan export assembled --format web: the page at /?local=1 then "
        "colours in the browser, and photographs do not leave it",
    )
    add_options(parser.add_argument_group(f"model {OBJECTS}"), ObjectConfig)
    args = parser.parse_args(argv)
    return guarded(lambda: _serve(args))


def _serve(args: argparse.Namespace) -> int:
    if not 0 < args.port < 65536:
        raise ConfigError("--port must be from 1 to 65535")
    browser_models = args.browser_models and str(check_browser_models(args.browser_models))
    config = ServeConfig(
        storage=open_storage(args.storage).uri,
        models=tuple(args.models),
        router=RouterConfig(router=args.router, classes=args.classes),
        device=args.device,
        compile=args.compile,
        one_process=args.one_process,
        browser_models=browser_models,
        objects=None if args.no_objects else parse(ObjectConfig, args),
    )
    parts = find_parts(config)  # reports errors before anything is started
    _note(parts.note)
    what = f"python -m serve on {args.host}:{args.port}"
    with recorded(open_storage(config.storage), what, parts.packages) as fault:
        _note(fault)
        if args.local:
            return _local(config, args.host, args.port)
        return _on_ray(config, args.host, args.port)


def _note(text: str) -> None:
    if text:
        print(f"note: {text}", file=sys.stderr, flush=True)


def _local(config: ServeConfig, host: str, port: int) -> int:
    import uvicorn

    from serve.api import create_api

    with reserved(host, port) as bound:
        keep_buffers()
        storage = open_storage(config.storage)
        api = create_api(LocalBackend(config), config.limits, storage, config.browser_models)
        listen(bound)
        print(address(host, port), flush=True)
        run_server(uvicorn.Config(api, log_level="warning"), bound)
    return 0


def _on_ray(config: ServeConfig, host: str, port: int) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the service as Ctrl-C does
    # With this setting Serve uses one event loop per process and buffers its logs. Each ingress
    # also listens on a port of its own, and an ending one would stay for 30 s, for load balancers
    # that know this port. Here all requests come through Serve's proxy.
    os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "0")
    if not os.environ.get("RAY_ADDRESS"):  # on a private Ray, no Serve is running yet
        _check_free(host, port)
    with connected():
        from ray import serve

        from serve.app import build

        _check_proxy(host, port)
        serve.start(http_options={"host": host, "port": port})
        try:
            quiet = {"enable_access_log": False}  # /metrics counts requests
            try:
                serve.run(build(config), name=_APPLICATION, logging_config=quiet)
            except RuntimeError as error:
                reason = _why_not(serve.status()) or str(error)
                raise ColorganError(f"the service did not start: {reason}") from None
            print(address(host, port), flush=True)
            while True:
                signal.pause()
        except KeyboardInterrupt:
            return 0
        finally:
            serve.delete(_APPLICATION)  # leaves other applications of the cluster running


def _check_free(host: str, port: int) -> None:
    """Raise ColorganError if nothing can listen on an address of this machine."""
    with reserved(host, port) as bound:
        listen(bound)


def _check_proxy(host: str, port: int) -> None:
    """Raise ColorganError if Serve's proxy would not listen on an address.

    Serve reports no error in these cases: a proxy whose port is in use ends, and one that is
    already running keeps its address.
    """
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        _check_free(host, port)
        return
    taken = client.http_config
    if (taken.host, taken.port) != (host, port):
        raise ColorganError(
            f"Ray Serve runs on this cluster already, and listens on {taken.host}:{taken.port}: "
            f"give --host {taken.host} --port {taken.port}, or end it with `serve shutdown`"
        )


def _why_not(status: "ServeStatus") -> str:
    """The last ColorganError of the replicas that could not start; empty without one."""
    deployments = status.applications[_APPLICATION].deployments.values()
    return reason_of(deployment.message for deployment in deployments)


if __name__ == "__main__":
    sys.exit(main())
