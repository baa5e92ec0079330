"""No regular expression of ours can take longer than its text is long.

One that matches by trying takes the square of the length, or worse, where two repetitions can take
the same letters and nothing between them stops either, or where one stands in another.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

ROOT = Path(__file__).parents[1]
PARSER: Any = cast("Any", re)._parser  # CPython's own, which has no public name

LETTERS = frozenset([*map(chr, range(256)), "\u0660", "\u2028", "\u0300"])
"""Some of each kind that patterns tell apart."""

FEW = 100
"""A repetition that ends by then is none."""

Items: TypeAlias = Sequence[tuple[Any, Any]]
Letters: TypeAlias = frozenset[str]


def patterns() -> Iterator[Any]:
    """Yield each pattern that stands in the code."""
    for package in ("service", "convlast"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                    for text in _text_of(node.args[0], path):
                        yield pytest.param(text, id=f"{path.relative_to(ROOT)}: {text}")


def _text_of(argument: ast.expr, path: Path) -> Iterator[str]:
    """Yield the text of a pattern, if it is known: some are made of constants of their module."""
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
    elif isinstance(argument, ast.JoinedStr):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        code = compile(ast.Expression(argument), str(path), "eval")
        yield eval(code, vars(module))  # noqa: S307  # a text in our own code


class FaultError(Exception):
    """Two repetitions that can take the same letters."""


def look(items: Items, before: tuple[Letters, ...]) -> tuple[Letters, ...]:
    """Look through a part of a pattern.

    Args:
        items: The part, as CPython's parser has it.
        before: What repetitions before it take, of those that could take all that lies between.

    Returns:
        The same, for what follows.

    Raises:
        FaultError: If there is a repetition that can take what one of those takes.
    """
    for operation, argument in items:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            least, most, body = argument
            before = _look_at_repetition(least, most, body, before)
        elif name == "SUBPATTERN":
            before = look(argument[3], before)
        elif name == "BRANCH":
            before = tuple(each for branch in argument[1] for each in look(branch, before))
        elif name not in {"AT", "ATOMIC_GROUP", "POSSESSIVE_REPEAT"}:
            one = letters([(operation, argument)])
            before = tuple(taken for taken in before if taken & one)
    return before


def _look_at_repetition(
    least: int, most: int, body: Items, before: tuple[Letters, ...]
) -> tuple[Letters, ...]:
    inside = look(body, before)
    if most <= FEW:
        return (*inside, *before) if least == 0 else inside
    taken = letters(body)
    if look(body, ()) or any(taken & other for other in before):
        raise FaultError
    return (*before, taken) if least == 0 else (taken,)


def letters(items: Items) -> Letters:
    """Return the letters that can stand anywhere in what a part of a pattern matches."""
    found: set[str] = set()
    for operation, argument in items:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            found |= letters(argument[2])
        elif name == "SUBPATTERN":
            found |= letters(argument[3])
        elif name == "ATOMIC_GROUP":
            found |= letters(argument)
        elif name == "BRANCH":
            found.update(*map(letters, argument[1]))
        elif name != "AT":
            found |= _letters_of_one(name, argument)
    return frozenset(found)


def _letters_of_one(name: str, argument: Any) -> Letters:
    if name == "LITERAL":
        return frozenset(chr(argument))
    if name == "NOT_LITERAL":
        return LETTERS - {chr(argument)}
    if name == "ANY":
        return LETTERS - {"\n"}
    if name == "RANGE":
        return frozenset(letter for letter in LETTERS if argument[0] <= ord(letter) <= argument[1])
    if name == "CATEGORY":
        sign = {"SPACE": "s", "DIGIT": "d", "WORD": "w"}[str(argument).rpartition("_")[2]]
        pattern = rf"\{sign.upper() if '_NOT_' in str(argument) else sign}"
        return frozenset(letter for letter in LETTERS if re.match(pattern, letter))
    assert name == "IN", name
    parts = [part for part in argument if str(part[0]) != "NEGATE"]
    found = frozenset().union(*(_letters_of_one(str(kind), value) for kind, value in parts))
    return found if len(parts) == len(argument) else LETTERS - found


@pytest.mark.parametrize("pattern", [*patterns()])
def test_a_pattern_takes_no_longer_than_a_text_is_long(pattern: str) -> None:
    """No two of its repetitions can share a run of letters out among themselves."""
    look(PARSER.parse(pattern), ())


@pytest.mark.parametrize(
    "pattern",
    [r"\s*(\d*)\s*", r"(a*)*", r"(?:a|b+)*", r".*-.*x", r"a+b*a+", r"(?:\s*x?)+", r"[^,]*,?[a-z]+"],
)
def test_one_that_takes_longer_is_found(pattern: str) -> None:
    """Else the test above would prove nothing."""
    with pytest.raises(FaultError):
        look(PARSER.parse(pattern), ())


@pytest.mark.parametrize("pattern", [r"\s*+\d*\s*", r"[a-z]*-[0-9]*", r"a{1,9}a{1,9}", r"\d+\.\d+"])
def test_one_that_does_not_passes(pattern: str) -> None:
    """Repetitions of different letters, short ones, and such that give nothing back."""
    look(PARSER.parse(pattern), ())
