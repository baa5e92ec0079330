"""The lists of codes and exit statuses are closed."""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from convlast import cli, errors
from convlast.cli import codes
from convlast.errors import ConvlastError, RemoteError
from convlast.report import gates

SOURCES = [*Path(cli.__file__).parent.glob("*.py"), Path(cli.__file__).parents[1] / "__main__.py"]


def kinds(base: type[ConvlastError] = ConvlastError) -> Iterator[type[ConvlastError]]:
    """Yield every kind of error of the library."""
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from kinds(kind)


def test_each_kind_of_error_is_in_the_table() -> None:
    """Each class of the tree that has a code is there, with its status."""
    table = codes.table()
    for kind in kinds():
        if kind.code != ConvlastError.code:
            is_usage = issubclass(kind, errors.OptionError)
            assert table[kind.code].status == (2 if is_usage else 1)
        else:
            assert kind is RemoteError or kind.__subclasses__()
    assert not codes.OWN.keys() & {kind.code for kind in kinds()}
    assert all(row.meaning.endswith(".") for row in table.values())


def printed() -> Iterator[tuple[str, ast.expr]]:
    """Yield where the command line ends with a code, and the expression for it."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in {"end", "say"} and node.args:
                yield f"{path.name}:{node.lineno}", node.args[0]


def test_no_code_is_printed_that_is_not_in_the_table() -> None:
    """Where a code is printed it is one of ours, or that of an error of the library."""
    literals = set()
    for where, code in printed():
        if isinstance(code, ast.Constant):
            literals.add(code.value)
            continue
        words = ast.unparse(code)
        is_known = words.endswith(".code") or words in {"*_told(error)", "code"}
        assert is_known, f"{where}: {words}"
    for path in SOURCES:
        literals |= set(re.findall(r'"convlast: ([a-z-]+): ', path.read_text()))
    assert literals <= codes.table().keys()
    literals |= {gates.WARNED, gates.FOUND, gates.TOO_FAR, gates.UNMEASURED}
    assert literals <= codes.table().keys()
    told = cli.outcome._told(OSError(28, "full")), cli.outcome._told(OSError(13, "no"))
    assert {code for code, _ in told} <= codes.table().keys()
    assert {*literals, "file-error"} >= codes.OWN.keys(), "a code that is never printed"


def test_every_status_has_a_meaning() -> None:
    """The statuses of the codes, and of signals, are among those that are explained."""
    assert {row.status for row in codes.table().values()} < codes.STATUSES.keys()
    assert {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)} < (
        codes.STATUSES.keys()
    )
    assert codes.status_of("queue-full") == codes.FAILED
