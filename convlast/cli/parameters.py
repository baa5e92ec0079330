"""Turns the fields of a model into options of a command, so that the two cannot diverge.

A command takes the model itself:

    @app.command()
    @flattened
    def convert(source: Path, options: Options) -> None: ...

and `convlast convert --help` lists one option for each field, with the model's descriptions and
defaults. Values are read as text, and only the model checks them, as for HTTP.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from convlast.byte_size import readable

METAVARS = {
    "select": "PATTERN",
    "architecture": "NAME",
    "architecture_options": "JSON",
    "architecture_prefix": "MODULE",
    "input_shape": "N,C,D,H,W",
    "min_speedup": "RATIO",
    "fail_on": "failed|warning|CODE",
    "report": "FILE",
    "check": "LIST",
    "device": "DEVICE",
    "server": "URL",
    "key_file": "FILE",
    "statement": "FILE",
    "signing_key": "FILE",
}
"""The placeholders for values whose type does not say what they are."""

SHORT = {"quiet": "-q", "verbose": "-v"}
"""The options that one letter gives too."""


@dataclass(frozen=True)
class Only:
    """Makes options of some fields of a model: `Annotated[Options, Only(names)]`."""

    names: tuple[str, ...]


REPEATABLE = {"select", "architecture_prefix", "report", "fail_on"}
"""Options that may be given more than once."""

WHOLE = {"report"}
"""Those whose values may contain commas, which separate values of the others, as in HTTP."""


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is a model with one option for each of its fields.

    Raises:
        OptionError: When the command is called, if `Options` or `Limits` refuses a value.
        typer.BadParameter: When the command is called, if another model does.
    """
    signature = inspect.signature(command, eval_str=True)
    models = {
        parameter.name: found
        for parameter in signature.parameters.values()
        if (found := _model_of(parameter.annotation)) is not None
    }

    def run(**values: Any) -> None:
        for name, (model, fields) in models.items():
            values[name] = _parse(model, {field: values.pop(field) for field in fields})
        command(**values)

    parameters = [p for p in signature.parameters.values() if p.name not in models]
    parameters += [option for found in models.values() for option in _options(*found)]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__dict__["__signature__"] = signature.replace(
        parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    return run


def _model_of(annotation: Any) -> tuple[type[BaseModel], Sequence[str]] | None:
    """Return the model that a parameter is, and which of its fields are options."""
    model, *more = get_args(annotation) if get_origin(annotation) is Annotated else [annotation]
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return None
    chosen = [each.names for each in more if isinstance(each, Only)]
    return model, chosen[0] if chosen else tuple(model.model_fields)


def _options(model: type[BaseModel], fields: Sequence[str]) -> Iterator[inspect.Parameter]:
    for name in fields:
        field = model.model_fields[name]
        declared = typer.Option(
            f"--{(field.alias or name).replace('_', '-')}",
            *filter(None, [SHORT.get(name)]),
            help=_help(field),
            metavar=_metavar(name, field),
            rich_help_panel=model.__name__,
        )
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[_type(name, field), declared],
            default=_default(name, field),
        )


def _type(name: str, field: FieldInfo) -> Any:
    if field.annotation is bool:
        return bool
    return list[str] if name in REPEATABLE else str | None


def _help(field: FieldInfo) -> str:
    return " ".join((field.description or "").replace("`", "").split())


def _default(name: str, field: FieldInfo) -> Any:
    default: Any = None if field.default_factory else field.default
    if name in REPEATABLE:
        return list(default)
    if name.endswith("_bytes"):
        return readable(default)
    return default if default is None or isinstance(default, bool) else str(default)


def _metavar(name: str, field: FieldInfo) -> str | None:
    if field.annotation is bool:
        return None
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    return METAVARS.get(name, "SIZE" if name.endswith("_bytes") else "NUMBER")


def _joined(name: str, value: Any) -> Any:
    return ",".join(value) if name in REPEATABLE - WHOLE else value


def _parse(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    given = {
        model.model_fields[name].alias or name: _joined(name, value)
        for name, value in values.items()
        if value is not None
    }
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        option = f"'--{str(first['loc'][0]).replace('_', '-')}'"
        message = first["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(message, param_hint=option) from None
