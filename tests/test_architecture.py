"""Imports point one way, and names say what is in them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import convlast
from convlast import errors
from convlast.errors import ConvlastError

ROOT = Path(__file__).parents[1]

LAYERS = {
    "convlast": """
version openmp progress byte_size
errors
options places
report
bytes jobs
provenance
layout devices stores
checkpoints
planning
writing
containers
folders architectures
loading smoke
proving
findings state_dict digests
conversion
inspection verification addressed
client
cli
__main__
""",
    "service": """
errors settings
cancellation problems sandbox usage threads
access headers storage transfers
workers
telemetry jobs
ray_engine
connection
context
uploads
answers server
routes
app
__main__
""",
}
"""A package may import those in the lines above its own, and in its own line without a circle.

`client`, which speaks HTTP, and `report`, which a service imports, see nothing of the core.
"""

ONLY = {
    "report": {"errors", "options", "places", "report"},
    "client": {
        *(
            "errors",
            "options",
            "report",
            "jobs",
            "provenance",
            "progress",
            "bytes",
            "stores",
            "places",
            "writing",
            "client",
        ),
    },
    "provenance": {"bytes", "errors", "options", "progress", "provenance", "report", "version"},
    "stores": {"errors", "progress", "stores"},
}
"""What some packages confine themselves to."""

FOREIGN = {"service", "fastapi", "starlette", "uvicorn", "httpx", "obstore", "anyio", "tests"}
ALLOWED = {"client": {"httpx", "anyio"}, "stores": {"httpx", "obstore"}}
"""What comes from elsewhere, and which parts of the library may use it."""


@cache
def modules(package: str) -> dict[str, Path]:
    """Return each module of a package by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Return the name of each module that a file imports, anywhere in it, for types too."""
    return frozenset(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    known = modules("convlast").keys() | modules("service").keys()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in known else base


def unit_of(module: str) -> str:
    """Return the part of the library that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def layer_of(package: str, unit: str) -> int:
    """Return the number of the line that a part of a package stands in."""
    for number, line in enumerate(LAYERS[package].split("\n")):
        if unit in line.split():
            return number
    raise AssertionError(f"{package}.{unit} has no place in LAYERS yet: give it one")


@pytest.mark.parametrize("package", LAYERS)
def test_every_line_of_the_layers_exists(package: str) -> None:
    """What was removed or renamed is removed or renamed here as well."""
    there = {unit_of(module) for module in modules(package)} - {"__init__"}
    assert set(LAYERS[package].split()) == there


@pytest.mark.parametrize(
    "module", sorted(set(modules("convlast") | modules("service")) - set(LAYERS))
)
def test_imports_point_up(module: str) -> None:
    """A module imports what stands above it, or beside it; never what stands below."""
    package, own = module.split(".")[0], unit_of(module)
    for imported in imports_of(modules(package)[module]):
        if imported.split(".")[0] != package:
            continue
        other = unit_of(imported)
        if other == "__init__":
            assert own in {"cli", "__main__", "client"}, f"{module} imports the package"
        elif other != own:
            assert layer_of(package, other) <= layer_of(package, own), f"{module} <- {imported}"
            assert other in ONLY.get(own, {other}), f"{module} imports {imported}"


@pytest.mark.parametrize("package", LAYERS)
def test_there_are_no_circles_of_packages(package: str) -> None:
    """What stands at the top can be put in an order in which each comes after what it imports."""
    graph: dict[str, set[str]] = {}
    for module, path in modules(package).items():
        imported = {unit_of(name) for name in imports_of(path) if name.split(".")[0] == package}
        graph.setdefault(unit_of(module), set()).update(imported - {unit_of(module), "__init__"})
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


@pytest.mark.parametrize(("package", "most"), [("convlast", 33), ("service", 22)])
def test_a_newcomer_sees_a_house(package: str, most: int) -> None:
    """Few names stand at the top, few modules in a folder, and no file is long."""
    top = [each for each in (ROOT / package).iterdir() if not each.name.startswith("__")]
    assert len(top) <= most
    folders = Counter(path.parent for path in modules(package).values())
    assert max(folders.values()) <= 20, folders.most_common(1)
    for path in modules(package).values():
        assert len(path.read_text().splitlines()) <= 315, path


@pytest.mark.parametrize("package", LAYERS)
def test_the_document_draws_what_there_is(package: str) -> None:
    """docs/architecture.md has a row for each name at the top, which names each module in it."""
    document = (ROOT / "docs" / "architecture.md").read_text()
    drawn = document.partition(f"\n{package}/\n")[2].partition("```")[0]
    rows = {row.split()[0]: row for row in re.split(r"\n(?=  \w)", "\n" + drawn)[1:]}
    units = {unit_of(module) for module in modules(package)} - {"__init__", "__main__"}
    assert rows.keys() == units
    leaves = {module.split(".")[-1] for module in modules(package)} - {package, "__main__"}
    for leaf in leaves:
        assert re.search(rf"\b{leaf}\b", drawn), f"{leaf} stands in no row"
    for word in re.findall(r"\b[a-z]+_[a-z_]+\b", drawn):
        assert word in leaves | {"load_into", "state_dict"}, f"{word} is no module"


def test_there_are_no_circles() -> None:
    """The modules can be put in an order in which each comes after what it imports."""
    graph = {
        module: {name for name in imports_of(path) if name in modules("convlast")}
        - {module, "convlast"}
        for module, path in modules("convlast").items()
        if module != "convlast"
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


@pytest.mark.parametrize("module", modules("convlast"))
def test_the_library_knows_no_http_and_no_environment(module: str) -> None:
    """Nothing of the service, and no web library outside the client and the stores."""
    path = modules("convlast")[module]
    foreign = FOREIGN - ALLOWED.get(unit_of(module), set())
    assert not {name.split(".")[0] for name in imports_of(path)} & foreign
    if module != "convlast.__main__":  # a process of its own, that nobody calls
        assert not re.search(r"\bos\.(environ|getenv)|\bgetenv\b", path.read_text())


def test_the_service_sees_the_edges_of_the_library_alone() -> None:
    """Only what runs in the worker reaches further than errors, options, report and stores."""
    light = {
        "byte_size",
        "errors",
        "jobs",
        "options",
        "places",
        "progress",
        "provenance",
        "report",
        "stores",
        "version",
        "openmp",
        "__init__",
    }
    for module, path in modules("service").items():
        if module.startswith("service.workers"):
            continue
        used = {unit_of(name) for name in imports_of(path) if name.split(".")[0] == "convlast"}
        assert used <= light, f"{module} imports {sorted(used - light)}"


@pytest.mark.parametrize(
    "name",
    [
        "convlast",
        "convlast.report",
        "convlast.cli",
        "convlast.report.rendering.html",
        "convlast.report.gates",
        "convlast.report.comparing",
        "convlast.addressed",
        "convlast.client",
        "convlast.containers",
        "convlast.folders.notes",
        "convlast.provenance.checking",
        "convlast.provenance.signing",
        "convlast.stores.reading",
    ],
)
def test_light_modules_do_not_import_torch(name: str) -> None:
    """A report can be read, and a command line answer, where torch would take seconds."""
    program = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_no_module_has_a_name_that_says_nothing() -> None:
    """A module is named for its concept."""
    empty = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "core", "base"}
    for package in ("convlast", "service", "tests"):
        for module in modules(package):
            assert not empty & set(module.split(".")), module


def test_all_names_what_there_is() -> None:
    """Each public name can be had, and the type checker sees the same ones as Python."""
    for name in convlast.__all__:
        assert getattr(convlast, name) is not None
    assert dir(convlast) == sorted(convlast.__all__)
    tree = ast.parse((ROOT / "convlast" / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if node.module is not None and node.module.startswith("convlast.")
    }
    assert imported == set(convlast.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = convlast.nonsense


def kinds(base: type[ConvlastError] = ConvlastError) -> Iterator[type[ConvlastError]]:
    """Yield every kind of error below one, that this library defines."""
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from kinds(kind)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """Its docstring names every class, with its code, below its base."""
    drawn = errors.__doc__ or ""
    depths: list[str] = []
    seen = {}
    for line in drawn.splitlines():
        if found := re.match(r"^(?P<lead>[ │├└─]*)(?P<name>\w+Error)\b(?P<rest>.*)$", line):
            depth = (len(found["lead"]) - 4) // 3
            depths[depth:] = [found["name"]]
            parent = depths[depth - 1] if depth else "Exception"
            code = re.match(r"\s+([a-z0-9-]+):", found["rest"])
            seen[found["name"]] = (parent, code and code[1])
    there = {}
    every: list[type[ConvlastError]] = [ConvlastError, *kinds()]
    for kind in every:
        parent = kind.__bases__[0].__name__
        there[kind.__name__] = (parent, kind.code if kind.code != "internal" else None)
    assert seen == there


def test_each_kind_of_error_has_its_own_code() -> None:
    """A program can tell them apart; those without one are bases, or bring a service's code."""
    codes = [kind.code for kind in kinds() if kind.code != "internal"]
    assert len(codes) == len(set(codes))
    for kind in kinds():
        is_complete = kind.code != "internal" or kind.__subclasses__()
        assert is_complete or kind is errors.RemoteError, kind
