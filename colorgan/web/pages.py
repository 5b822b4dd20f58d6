"""What browsers are given: static files, and headers that keep a page to its own origin."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

# The page is one origin's: nothing is loaded from elsewhere, nothing may frame it.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # an upgrade must not mix old scripts with a new page
}


class PageFiles(StaticFiles):
    """The files of a folder, with the pages' headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


def mount_shared_files(api: FastAPI) -> None:
    """Serve at /shared the style, the icon and the scripts that all pages use."""
    api.mount("/shared", PageFiles(directory=Path(__file__).parent / "page"), name="shared")
