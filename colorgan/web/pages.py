"""Static files for browsers, and headers that restrict a page to its own origin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

# A page loads nothing from other origins, and no page may frame it.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # an upgrade must not mix old scripts with a new page
}


# The same for a page that runs WebAssembly.
WASM_HEADERS = PAGE_HEADERS | {
    "Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"].replace(
        "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'"
    )
}


class PageFiles(StaticFiles):
    """Serves the files of a folder with headers, PAGE_HEADERS by default."""

    def __init__(self, *, headers: Mapping[str, str] = PAGE_HEADERS, **options: Any) -> None:
        """Take the headers, and the options of StaticFiles."""
        super().__init__(**options)
        self._headers = headers

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A response with a file and the headers."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(self._headers)
        return response


def mount_shared_files(api: FastAPI) -> None:
    """Serve the style sheet, the icon and the scripts of all pages at /shared."""
    api.mount("/shared", PageFiles(directory=Path(__file__).parent / "page"), name="shared")
