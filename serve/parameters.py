"""Request parameters, from the query, the form's fields and the header Accept."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from colorgan.images.encoding import is_writable
from colorgan.images.prints import Restoring
from colorgan.inference.colorizer import VIVID
from colorgan.inference.hints import MOST_HINTS, Hint, parse_hints
from colorgan.inference.variants import MOST_VARIANTS, first_numbers
from colorgan.models.noise import FIRST, Numbers
from colorgan.names import OBJECTS
from colorgan.web.problems import Problem

ASSEMBLED = "assembled"
AUTO = "auto"
MOST_AT_ONCE = 8  # variants of a photograph in one answer
FILE = "file"
Format = Literal["png", "jpeg", "webp", "tiff", "avif"]
FORMATS: tuple[Format, ...] = get_args(Format)
Container = Literal["application/zip", "multipart/form-data"]
CONTAINERS: tuple[Container, ...] = get_args(Container)

_SHOWN = 40  # characters of a name that a client has sent

Pairs = Sequence[tuple[str, str]]


class Parameters(BaseModel):
    """The parameters of every request that sends a photograph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int | None = Field(
        None, ge=1, description="page of a multi-page TIFF file, counted from 1"
    )
    restore: Restoring = Field(
        "off",
        description="colors: an old print (faded, noisy, scratched) is mended for the networks, "
        "and its border stays gray; full: its lightness is mended in the result, too",
    )


class ClassifyParameters(Parameters):
    """The parameters of a request to classify a photograph."""

    objects: bool = Field(False, description="true: also find the objects in the photograph")


class ColorizeParameters(Parameters):
    """The parameters of a request to colour a photograph."""

    model: str = Field(
        ASSEMBLED,
        description="assembled, general, hypercolumn, cic or a class; objects: each object by the "
        "model of its class, and the rest by general",
    )
    photo_class: str = Field(AUTO, alias="class", description="auto, or the class for `assembled`")
    format: Format | None = Field(
        None,
        description="format of the coloured picture; by default the one that Accept prefers, "
        "or png if it has no preference",
    )
    vividness: float = Field(
        1.0,
        ge=0,
        le=VIVID,
        allow_inf_nan=False,
        description="factor for the chroma; 0 gives a gray picture",
    )
    hints: Annotated[
        tuple[Hint, ...], PlainValidator(parse_hints), WithJsonSchema({"type": "string"})
    ] = Field(
        "",
        validate_default=True,
        description="colours of points, each spread to what is as light around it: a JSON array "
        'as [{"x": 120, "y": 80, "color": "#2a52be"}], in pixels of the upright photograph, of at '
        f"most {MOST_HINTS}",
    )
    metadata: Literal["drop", "keep"] = Field(
        "drop",
        description="keep: the coloured picture keeps the photograph's EXIF, IPTC, XMP and "
        "resolution, but not the place where it was taken, and has an ICC profile",
    )
    variants: int | None = Field(
        None,
        ge=2,
        le=MOST_AT_ONCE,
        description="number of ways to colour the photograph, by a model with noise: the answer is "
        "a zip with variant-1.png and so on, or multipart/form-data if Accept prefers that. The "
        "first one is the usual colouring, and a number always means the same one",
    )
    variant: int = Field(
        1,
        ge=1,
        le=MOST_VARIANTS,
        description="number of the variant in which to colour the photograph",
    )
    side: int | None = Field(
        None,
        ge=32,
        description="longest side of the pictures of `variants`, in pixels; larger photographs are "
        "scaled down to it",
    )

    @property
    def numbers(self) -> Numbers:
        """The numbers of the variants that are wanted."""
        return first_numbers(self.variants) if self.variants else (self.variant,)


Chosen = TypeVar("Chosen", bound=Parameters)


def read_parameters(kind: type[Chosen], query: Pairs, form: Pairs = ()) -> Chosen:
    """Parse and check the parameters of a request; missing ones take their defaults.

    Args:
        kind: model of the parameters.
        query: names and values of the query, in order.
        form: names and values of the form's fields, without the photograph.

    Raises:
        Problem: 422, if a name does not exist or is given twice, or a value is out of range.
    """
    known = names(kind)
    given = [name for name, _ in (*query, *form)]
    faults = [_unknown(name, known) for name in dict.fromkeys(given) if name not in known]
    for name in known:
        times = given.count(name)
        if times > 1:
            both = any(name == each for each, _ in query) and any(name == each for each, _ in form)
            where = ", in the query and in the form" if both else ""
            faults.append(f"{name}: it is given {times} times{where}; give it once")
    if faults:
        raise Problem(422, "; ".join(faults))
    try:
        return kind.model_validate(dict((*query, *form)))
    except ValidationError as error:
        words = (
            f"{fault['loc'][-1]}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise Problem(422, "; ".join(words)) from None


def names(kind: type[Parameters]) -> list[str]:
    """The names of the parameters, as clients write them."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def _unknown(name: str, known: Sequence[str]) -> str:
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    near = difflib.get_close_matches(name.lower(), known, 1)
    if near:
        return f"{shown}: unknown parameter; did you mean {near[0]}?"
    return f"{shown}: unknown parameter; the parameters are {', '.join(known)}"


def acceptable_formats(accept: str) -> list[Format]:
    """The formats that the header Accept allows, the most preferred first (RFC 9110, 12.5.1).

    At equal preference, a named format precedes one that a wildcard covers, and otherwise they come
    in the order of FORMATS. Without the header, every format is acceptable.

    Raises:
        Problem: 406, if no format is acceptable.
    """
    ranges = _ranges(accept) if accept.strip() else {"*/*": 1.0}
    welcome: dict[Format, tuple[float, int]] = {}
    offered = [each for each in FORMATS if is_writable(each)]
    for each in offered:
        # The most specific range takes precedence over all others.
        spellings = ("image/jpg", "image/jpeg") if each == "jpeg" else (f"image/{each}",)
        named = [ranges[spelling] for spelling in spellings if spelling in ranges]
        if named:
            welcome[each] = (max(named), 2)
        elif "image/*" in ranges:
            welcome[each] = (ranges["image/*"], 1)
        else:
            welcome[each] = (ranges.get("*/*", 0.0), 0)
    taken = [each for each in offered if welcome[each][0] > 0]
    if not taken:
        types = ", ".join(f"image/{each}" for each in offered)
        raise Problem(
            406,
            f"Accept allows none of {types}: add one of these or */* to it, or say which with the "
            "parameter format",
        )
    return sorted(taken, key=lambda each: welcome[each], reverse=True)


def acceptable_container(accept: str) -> Container:
    """What the header Accept wants several pictures in; a zip if it has no preference.

    Raises:
        Problem: 406, if it takes neither.
    """
    ranges = _ranges(accept) if accept.strip() else {"*/*": 1.0}
    welcome: dict[Container, tuple[float, int]] = {}
    for each in CONTAINERS:
        spellings = (each, f"{each.partition('/')[0]}/*", "*/*")  # the most specific one counts
        found = [place for place, name in enumerate(spellings) if name in ranges]
        welcome[each] = (ranges[spellings[found[0]]], -found[0]) if found else (0.0, 0)
    best = max(CONTAINERS, key=lambda each: welcome[each])  # the first of equal ones
    if not welcome[best][0]:
        raise Problem(
            406,
            f"Accept allows none of {', '.join(CONTAINERS)}, in which several pictures are sent: "
            "add one of these or */* to it",
        )
    return best


def check_together(chosen: "ColorizeParameters") -> None:
    """Reject parameters that do not go together; raises Problem 422."""
    if chosen.variants and chosen.variant != 1:
        raise Problem(422, "variant: it asks for one colouring, and variants for several; send one")
    if chosen.side and not chosen.variants:
        raise Problem(422, "side: it sizes the pictures of variants; leave it out, or add variants")
    if chosen.model == OBJECTS and chosen.numbers != FIRST:
        field = "variants" if chosen.variants else "variant"
        raise Problem(422, f"{field}: model={OBJECTS} colours in one way; name another model")


def _ranges(accept: str) -> dict[str, float]:
    """The media ranges of an Accept header with their q values, without malformed ones."""
    ranges: dict[str, float] = {}
    for part in accept.split(","):
        media_range, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = -1.0
        if 0 <= quality <= 1:
            ranges[media_range] = max(quality, ranges.get(media_range, 0.0))
    return ranges


def described_parameters(kind: type[Parameters]) -> list[dict[str, Any]]:
    """The OpenAPI description of the parameters in the query."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": schema,
        }
        for name, schema in _schemas(kind).items()
    ]


def described_body(kind: type[Parameters]) -> dict[str, Any]:
    """The OpenAPI description of a request body with a photograph."""
    picture = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": [FILE],
        "properties": {FILE: picture, **_schemas(kind)},
        "additionalProperties": False,
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            **{f"image/{name}": {"schema": picture} for name in ("jpeg", "png", "webp", "tiff")},
        },
    }


def _schemas(kind: type[Parameters]) -> dict[str, dict[str, Any]]:
    """Each parameter's JSON schema, without its title, and without null, which cannot be sent."""
    schemas = {}
    for name, schema in kind.model_json_schema()["properties"].items():
        kinds = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        present = kinds[0] if kinds else {}
        merged = {**schema, **present}
        if merged.get("default") is None:
            merged.pop("default", None)
        schemas[name] = {
            key: value for key, value in merged.items() if key not in ("title", "anyOf")
        }
    return schemas
