"""Rendering pages: each is a single file that loads nothing and runs only its own script."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render(template: str, *, templates: str = "colorgan.evaluation", **context: Any) -> str:
    """Fill in a template.

    Args:
        template: the template's file name.
        templates: the package of the template, which may include the templates of this package.
        context: the template's variables.
    """
    packages = (templates, "colorgan.evaluation")
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "csp_hash": _csp_hash,
        "listed": enumerated,
        "photographs": photograph_count,
    }
    return environment.get_template(template).render(**context)


def data_uri(kind: str, data: bytes) -> str:
    """A file of a media type as a data URI, for use in a page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def photograph_count(number: int) -> str:
    """A number of photographs as text: `1 photograph`, `2,350 photographs`."""
    return f"{number:,} photograph" + ("" if number == 1 else "s")


def enumerated(words: Sequence[str], last: str = "and") -> str:
    """Words listed as in a sentence: a, b and c."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _csp_hash(text: str) -> str:
    """The hash by which a Content-Security-Policy allows one style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
