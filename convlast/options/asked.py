"""What the models of options, limits and settings have in common: how they refuse."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from convlast.errors import OptionError

PREFIX = "Value error, "
"""What pydantic puts before the text of an error that a validator raised."""


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one resembles; None if there is none.

    >>> closest("smok", ["select", "smoke"])
    'smoke'
    """
    return next(iter(get_close_matches(name[:64], names, n=1)), None)


class Asked(BaseModel):
    """What a caller can ask for; the constructor refuses with an error of this library.

    An OptionError is a ValueError, so a model that contains such a part still raises pydantic's
    ValidationError.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )
    noun: ClassVar[str] = "option"

    def __init__(self, /, **values: Any) -> None:
        """Check the values.

        Raises:
            OptionError: If a name is unknown or a value is not allowed.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self.refusal(error) from None

    @classmethod
    def refusal(cls, error: ValidationError) -> Exception:
        """Return the error to raise instead of pydantic's."""
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "architecture_options"
        if name not in cls.model_fields:
            return unknown(name, cls.model_fields, cls.noun)
        is_count = first["type"] in {"missing", "too_long"}
        problem = "five numbers are wanted" if is_count else first["msg"].removeprefix(PREFIX)
        remedy = (cls.model_fields[name].description or "").replace("\n", " ")
        message = f"{cls.noun.capitalize()} {name} has a bad value: {problem}."
        return OptionError(name, message, remedy=remedy)

    @classmethod
    def require(cls, value: object, name: str) -> Self:
        """Return a value if it is one of this class.

        Raises:
            OptionError: If it is not, but a dict for example.
        """
        if isinstance(value, cls):
            return value
        kind, example = f"convlast.{cls.__name__}", next(iter(cls.model_fields))
        message = f"{name} is a {type(value).__name__}, where a {kind} is wanted."
        raise OptionError(name, message, remedy=f"Write {kind}({example}=...).")


def unknown(
    name: str, names: Iterable[str], noun: str = "option", others: Iterable[str] = ()
) -> OptionError:
    """Return the error for a name that does not exist, with the one that may be meant.

    Args:
        name: The name.
        names: The names that exist.
        noun: What they are names of.
        others: Names of other things that may be meant.
    """
    known = list(names)
    close = closest(name, [*known, *others])
    remedy = f"Did you mean {close}?" if close else f"The {noun}s are {', '.join(known)}."
    return OptionError(name[:64], f"There is no {noun} {name[:64]!r}.", remedy=remedy)
