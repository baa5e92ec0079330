"""Reads statements and envelopes, by whoever they were written: all that is odd is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convlast.errors import StatementError
from convlast.options import MAX_DEPTH
from convlast.provenance.envelope import Envelope
from convlast.provenance.statement import PREDICATE_TYPE, STATEMENT_TYPE, TENSORS

MAX_BYTES = 48 << 20
"""The largest file: a statement on 10,000 files with long names, in an envelope."""

MOST_PARTS = 1 << 20
"""The most values and members of its JSON, whose objects may need a hundred times its bytes."""

MOST_SUBJECTS = 100_000


@dataclass(frozen=True)
class Subject:
    """A file that a statement is about.

    Attributes:
        sha256: The digest of its bytes, in hexadecimal.
        has_tensors: Whether the statement has the root of the digests of its tensors.
    """

    sha256: str
    has_tensors: bool = False


@dataclass(frozen=True)
class Statement:
    """What a statement says.

    Attributes:
        subjects: The files of the artifact, by their names.
        dependencies: What it was made of, as far as the statement gives a digest: digests by names.
    """

    subjects: Mapping[str, Subject]
    dependencies: Mapping[str, str]


def read_file(path: Path) -> bytes | Envelope:
    """Read a file with a statement.

    Returns:
        The statement, still to be parsed; or the envelope that it is in, still to be checked.

    Raises:
        StatementError: If it is neither.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        return read(file.read(MAX_BYTES + 1))


def read(content: bytes) -> bytes | Envelope:
    """Read a statement, or an envelope; as `read_file`.

    Raises:
        StatementError: If it is neither.
    """
    members = _members(content)
    is_envelope = "payloadType" in members or "payload" in members
    return Envelope.of(members) if is_envelope else content


def parse(found: bytes | Envelope) -> Statement:
    """Parse a statement, or the one in an envelope, whoever has signed that.

    Raises:
        StatementError: If it is none, or not one on a build.
    """
    members = _members(found.payload if isinstance(found, Envelope) else found)
    for member, wanted in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if members.get(member) != wanted:
            raise StatementError(
                f"The member {member} is not {wanted}.",
                remedy="Give a statement with SLSA provenance, as --statement writes it.",
            )
    return Statement(_subjects(members.get("subject")), _dependencies(members.get("predicate")))


def _members(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_BYTES:
        raise StatementError(f"The file is larger than a statement may be: {MAX_BYTES:,} bytes.")
    # Each value but the first comes after one of these; the few in texts do no harm.
    if sum(map(content.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise StatementError(f"The JSON has more parts than a statement may have: {MOST_PARTS:,}.")
    try:
        found = json.loads(
            content.decode(), object_pairs_hook=_without_twins, parse_constant=_refuse_constant
        )
        _refuse_odd(found)
    except StatementError:
        raise
    except RecursionError:
        raise StatementError("The JSON is nested too deeply.") from None
    except ValueError:  # not UTF-8, not JSON, an integer of thousands of digits
        raise StatementError("The file is not JSON.", remedy="Give a statement.") from None
    if not isinstance(found, dict):
        raise StatementError("The JSON is not an object.", remedy="Give a statement.")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that two programs would read differently."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise StatementError("An object of the JSON has two members of one name.")
    return members


def _refuse_constant(name: str) -> None:
    raise StatementError(f"The JSON has the number {name}, which JSON does not know.")


def _refuse_odd(value: Any) -> None:
    """Refuse depth, and half a surrogate pair, which is no text."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str):
                each.encode()
        level = below
    if level:
        raise RecursionError


def _subjects(given: Any) -> dict[str, Subject]:
    if not isinstance(given, list) or not 0 < len(given) <= MOST_SUBJECTS:
        raise StatementError(f"The statement has not 1 to {MOST_SUBJECTS:,} subjects.")
    found: dict[str, Subject] = {}
    for each in given:
        name, sha256 = _named(each)
        if not name or sha256 is None:
            raise StatementError("A subject has no name, or no digest sha256.")
        if name in found:
            raise StatementError(f"Two subjects have the name {name!r}.")
        annotations = each.get("annotations")
        has_tensors = isinstance(annotations, dict) and TENSORS in annotations
        found[name] = Subject(sha256, has_tensors)
    return found


def _dependencies(predicate: Any) -> dict[str, str]:
    definition = predicate.get("buildDefinition") if isinstance(predicate, dict) else None
    given = definition.get("resolvedDependencies", []) if isinstance(definition, dict) else None
    if not isinstance(given, list):
        raise StatementError("The predicate has no buildDefinition with resolvedDependencies.")
    named = (_named(each) for each in given)
    return {name: sha256 for name, sha256 in named if name and sha256}


def _named(resource: Any) -> tuple[str | None, str | None]:
    """Return the name of a resource, and its digest; None for what it does not have."""
    if not isinstance(resource, dict):
        raise StatementError("A subject or a dependency is not an object.")
    name, digests = resource.get("name"), resource.get("digest")
    sha256 = digests.get("sha256") if isinstance(digests, dict) else None
    is_digest = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) is not None
    return name if isinstance(name, str) else None, sha256 if is_digest else None
