"""Assembles the HTTP API and its page from their routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi_offline import FastAPIOffline

import colorgan
from colorgan.images.formats import FORMATS, readable_names
from colorgan.storage import Storage
from colorgan.web.methods import answer_head_and_options
from colorgan.web.pages import PAGE_HEADERS, PageFiles, mount_shared_files
from colorgan.web.problems import answer_with_problems
from serve import photographs, survey
from serve.access import GUARDED
from serve.backend import Backend
from serve.browser import mount_browser_models
from serve.config import Limits
from serve.ingress import PhotographIngress
from tune.dashboard import create_sweep_routes, mount_sweep_files

_PAGE = Path(__file__).parent / "page"
_IN_THE_BROWSER = '<a id="other-way" href="/?local=1">Colour them in this browser instead</a>'


def create_api(
    backend: Backend,
    limits: Limits,
    storage: Storage | None = None,
    browser_models: str | None = None,
) -> FastAPI:
    """Create the FastAPI application.

    Args:
        backend: routes and colours photographs.
        limits: limits on requests.
        storage: storage of surveys and sweeps; None leaves out their routes.
        browser_models: the folder of `colorgan export --format web`, served at /local for the
            page's `?local=1`.

    Raises:
        ConfigError: that folder is none.
    """
    ingress = PhotographIngress(backend, limits)

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        yield
        ingress.close()

    # FastAPI's own /docs has the browser load Swagger's files from a CDN. The validator's badge,
    # which Swagger shows everywhere but on localhost, would send the API's description away.
    api = FastAPIOffline(
        redoc_url=None,
        static_url="/docs-files",
        favicon_url="/shared/icon.svg",
        swagger_ui_parameters={"validatorUrl": None},
        title="colorgan",
        version=colorgan.__version__,
        description="Colours black-and-white photographs with class-specific conditional GANs.",
        lifespan=lifespan,
    )
    answer_with_problems(api)
    answer_head_and_options(api)
    api.state.ingress = ingress
    api.include_router(photographs.routes)
    if storage is not None:
        api.state.surveys = survey.Surveys(storage)
        api.include_router(survey.routes)
        api.include_router(create_sweep_routes(storage, GUARDED))
        mount_sweep_files(api)

    html = _photograph_page(browser_models is not None)

    @api.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(html, headers=PAGE_HEADERS)

    mount_browser_models(api, browser_models)
    mount_shared_files(api)
    api.mount("/page", PageFiles(directory=_PAGE), name="page")
    return api


def _photograph_page(with_browser_models: bool) -> str:
    """The page's HTML, with the formats that this installation can read.

    Args:
        with_browser_models: whether the page can colour in the browser, and has a link to that.
    """
    readable = [each for each in FORMATS if each.readable]
    # Browsers on some systems know no media type for a format, and then go by the suffix.
    accept = ",".join(name for each in readable for name in (each.media_types[0], *each.suffixes))
    template = Template((_PAGE / "index.html").read_text(encoding="utf-8"))
    other_way = _IN_THE_BROWSER if with_browser_models else ""
    return template.substitute(accept=accept, formats=readable_names(), other_way=other_way)
