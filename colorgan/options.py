"""Configurations: dataclasses whose values are checked and whose fields are command-line options.

A field is declared once, with its type, bounds, default and help text:

    epochs: Count = option(200, "passes over the training photographs")
    norm: Literal["batch", "instance"] = option("instance", "normalisation")

The command line shows and parses it; `Configuration` checks the value, wherever it came from.
"""

import argparse
import dataclasses
from collections.abc import Callable, Container
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from colorgan.errors import ConfigError

Config = TypeVar("Config")

Count = Annotated[int, Field(ge=1)]
NaturalNumber = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "finite_number": "a finite number",
}


class Configuration:
    """Base of the dataclasses that users set: no instance holds an invalid value.

    A value must have the type of its field (only int converts to float), be one of the choices of
    a Literal, lie within the bounds of the field, and be finite if it is a float.
    """

    def __post_init__(self) -> None:
        """Check every field, then their combination; raises ConfigError."""
        config: Any = type(self)
        values = {name: getattr(self, name) for name in _hints(config)}
        try:
            checked = _model(config)(**values)
        except ValidationError as error:
            raise ConfigError(_sentence(config, error)) from None
        for name in values:
            # An int becomes a float if the field is one. The dataclasses are frozen.
            object.__setattr__(self, name, getattr(checked, name))
        self.check()

    def check(self) -> None:
        """Check what the fields' types cannot express; raises ConfigError."""


def option(default: Any, help: str) -> Any:
    """A dataclass field with the help text of its command-line option."""
    return dataclasses.field(default=default, metadata={"help": help})


def add_options(
    parser: argparse._ActionsContainer,
    config: type[Any],
    defaults: Callable[[str], str] | None = None,
    without: Container[str] = (),
) -> None:
    """Add a command-line option for every field of a configuration declared by `option`.

    An option that is not given leaves nothing in the parsed arguments, so that the values from
    `given` can override those of any base configuration.

    Args:
        parser: the parser, or a group of its options.
        config: the configuration.
        defaults: the words in which a field's help text gives its default, by the field's name,
            where the default depends on other options; empty words are left out.
        without: names of fields that get no option, because the caller adds its own.
    """
    for field in dataclasses.fields(config):
        if not field.metadata or field.name in without:
            continue
        name = _shown_name(config, field.name)
        if isinstance(field.default, bool):
            parser.add_argument(
                name,
                dest=field.name,
                action="store_true",
                default=argparse.SUPPRESS,
                help=field.metadata["help"],
            )
            continue
        default = defaults(field.name) if defaults else default_in_words(field.default)
        parser.add_argument(
            name,
            dest=field.name,
            type=_reader(type(field.default)),
            choices=choices_of(config, field.name) or None,
            default=argparse.SUPPRESS,
            help=field.metadata["help"] + (f" ({default})" if default else ""),
        )


def value_in_words(value: Any) -> str:
    """A value as a help text shows it: 1 for 1.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def default_in_words(value: Any) -> str:
    """The words for one default in a help text; empty if the default is an empty text."""
    return "" if value == "" else f"default: {value_in_words(value)}"


def _reader(kind: type[Any]) -> Callable[[str], Any]:
    """The function that reads an option's value; its error says what the option takes."""

    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            wanted = _KINDS[f"{kind.__name__}_type"]
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None

    return read


def given(config: type[Any], args: argparse.Namespace) -> dict[str, Any]:
    """The values of a configuration's fields that were given on the command line."""
    names = {field.name for field in dataclasses.fields(config)}
    return {name: value for name, value in vars(args).items() if name in names}


def parse(config: type[Config], args: argparse.Namespace) -> Config:
    """Build a configuration from its defaults and the options on the command line."""
    return config(**given(config, args))


def choices_of(config: Any, name: str) -> tuple[Any, ...]:
    """The choices of a configuration's field; empty if it is not a Literal."""
    hint = get_type_hints(config)[name]
    return get_args(hint) if get_origin(hint) is Literal else ()


def check_value(config: Any, name: str, value: Any) -> Any:
    """Check one value against the type, choices and bounds of its field only.

    Returns:
        The value as the configuration would hold it.

    Raises:
        ConfigError: the value is invalid for the field.
    """
    model = _model(config)
    try:
        checked = model.__pydantic_validator__.validate_assignment(
            model.model_construct(), name, value
        )
    except ValidationError as error:
        raise ConfigError(_sentence(config, error)) from None
    return getattr(checked, name)


@cache
def _hints(config: Any) -> dict[str, Any]:
    hints = get_type_hints(config, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


@cache
def _model(config: Any) -> type[BaseModel]:
    """The pydantic model that checks the fields of a configuration."""
    rules = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())
    fields: dict[str, Any] = {name: (hint, ...) for name, hint in _hints(config).items()}
    return create_model(config.__name__, __config__=rules, **fields)


def _sentence(config: Any, error: ValidationError) -> str:
    """Describe the first fault of a configuration in a sentence that names the option."""
    fault = error.errors(include_url=False)[0]
    field, value = str(fault["loc"][0]), fault["input"]
    name, choices = _shown_name(config, field), choices_of(config, field)
    if choices:
        return f"{name} {value}: choose from {', '.join(map(str, choices))}"
    if fault["type"] in _KINDS:
        return f"{name} must be {_KINDS[fault['type']]}, not {value!r}"
    limits = [
        f"{words} {getattr(rule, bound)}"
        for rule in _model(config).model_fields[field].metadata
        for bound, words in _BOUNDS.items()
        if hasattr(rule, bound)
    ]
    if limits:
        return f"{name} must be {' and '.join(limits)}, not {value}"
    return f"{name} {value!r}: {fault['msg']}"


def _shown_name(config: Any, field: str) -> str:
    """The option of a field, or the field's own name if it has no option."""
    (found,) = (each for each in dataclasses.fields(config) if each.name == field)
    return "--" + field.replace("_", "-") if found.metadata else field
