"""The models that the page runs in the browser: a folder of `colorgan export --format web`."""

from pathlib import Path

from fastapi import FastAPI

from colorgan.errors import ConfigError
from colorgan.export.web import MODELS
from colorgan.web.pages import WASM_HEADERS, PageFiles


def check_browser_models(folder: Path) -> Path:
    """The absolute path of the folder; raises ConfigError if it is none of an export."""
    if not (folder / MODELS).is_file():
        raise ConfigError(
            f"{folder} has no models for browsers ({MODELS}): make them with "
            f"colorgan export assembled --format web -o {folder}"
        )
    return folder.resolve()


def mount_browser_models(api: FastAPI, folder: str | None) -> None:
    """Serve the folder at /local, if there is one; raises ConfigError as above."""
    if folder is None:
        return
    files = PageFiles(directory=check_browser_models(Path(folder)), html=True, headers=WASM_HEADERS)
    api.mount("/local", files, name="local")
