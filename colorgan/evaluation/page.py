"""What the pages share: one file that needs nothing else, and runs nothing but its own script."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render(template: str, *, templates: str = "colorgan.evaluation", **context: Any) -> str:
    """Fill in a template.

    Args:
        template: its file.
        templates: the package that has it; it may include the templates of this package.
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
    """A file of a media type, to stand in a page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def photograph_count(number: int) -> str:
    """How many, in words: `1 photograph`, `2,350 photographs`."""
    return f"{number:,} photograph" + ("" if number == 1 else "s")


def enumerated(words: Sequence[str], last: str = "and") -> str:
    """The words as people list them: a, b and c."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _csp_hash(text: str) -> str:
    """How a Content-Security-Policy names the one style or script that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
