"""What is sent: every file of a corpus, in each of its encodings, none twice."""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpora.encodings import AS_IT_IS, MAX_FILE_BYTES, encodings


@dataclass(frozen=True)
class Sample:
    """Bytes to send, and where they are from."""

    corpus: str
    name: str
    encoding: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.corpus}: {self.name}, {self.encoding}"


def own(name: str, data: bytes) -> Sample:
    """Return a sample that is of no corpus."""
    return Sample("own", name, AS_IT_IS, data)


def samples_of(corpora: list[tuple[str, Path]]) -> Iterator[Sample]:
    """Yield every file of every corpus in each of its encodings, none twice."""
    seen: set[bytes] = set()
    for corpus, folder in corpora:
        for name, content in _contents(folder):
            for encoding, data in encodings(name, content):
                digest = hashlib.sha256(data).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield Sample(corpus, name, encoding, data)


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        name, content = str(path.relative_to(folder)), path.read_bytes()
        if path.suffix in {".py", ".rs"}:
            yield from literals(name, content.decode("utf-8", "replace"))
        elif path.name != ".git":
            yield name, content


def literals(name: str, source: str) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes that a test's source states, without running it."""
    if name.endswith(".rs"):
        texts = re.finditer(r'b"(?:[^"\\]|\\.)*"', source, re.DOTALL)
        found = [(match.start(), _literal(match.group())) for match in texts]
    else:
        nodes = ast.walk(ast.parse(source))
        found = [
            (node.lineno, node.value)
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
        ]
    for place, value in found:
        if len(value) > 8:
            yield f"{name}:{place}", value


def _literal(text: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return b""
    return value if isinstance(value, bytes) else b""
