"""HEAD and OPTIONS for all routes of an application, and the methods that an address allows."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> tuple[str, ...]:
    """The methods that a request's address allows; empty if no route matches it.

    Args:
        routes: routes of the application.
        scope: ASGI scope of the request.
    """
    # A mounted application has changed the scope, so its root path is restored.
    whole = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
    found = [
        method
        for method in _METHODS
        if any(_takes(route, method, {**whole, "method": method}) for route in routes)
    ]
    if not found:
        return ()
    return (*found[:1], *(("HEAD",) if "GET" in found else ()), *found[1:], "OPTIONS")


def _takes(route: BaseRoute, method: str, scope: Scope) -> bool:
    # Mounts match every method, but they serve static files, which can only be read.
    if isinstance(route, Mount) and method != "GET":
        return False
    return route.matches(scope)[0] is Match.FULL


def answer_head_and_options(api: FastAPI) -> None:
    """Add HEAD to every route with GET, and OPTIONS to every route."""
    api.add_middleware(_Methods, routes=api.routes)


class _Methods:
    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if method == "OPTIONS" and (allowed := allowed_methods(self._routes, scope)):
            answer: ASGIApp = Response(status_code=204, headers={"Allow": ", ".join(allowed)})
            await answer(scope, receive, send)
            return
        if method != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)
