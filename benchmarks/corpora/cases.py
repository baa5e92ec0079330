"""The files that must be refused at once, whatever they would grow to."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from benchmarks.corpora.samples import own
from benchmarks.corpora.trial import Trial
from tests.hostile import (
    breaks_the_safetensors_header,
    breaks_the_zip,
    expands_without_bytes,
    parts,
)

ALLOWED_S, ALLOWED_MIB = 1.0, 100.0
REPEATS = 3


def cases() -> dict[str, Callable[[], bytes]]:
    """Return how each of the files is made."""
    return {
        "a zip bomb of 2 GB": zip_bomb,
        "a stride-0 tensor of 29e9 elements": expands_without_bytes.one_tensor,
        "duplicate members": breaks_the_zip.duplicate_member,
        "deflated members": breaks_the_zip.deflated,
        "a safetensors file of 400,000 tensors": lambda: many_tensors(400_000),
    }


def zip_bomb(nbytes: int = 2 << 30) -> bytes:
    """Return a torch zip whose storage is deflated, and a thousand times as large as the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        weight = parts.tensor(of=parts.storage(numel=nbytes // 4))
        archive.writestr("archive/data.pkl", parts.state_dict(conv__weight=weight))
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(nbytes >> 24):
                member.write(bytes(1 << 24))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def many_tensors(count: int) -> bytes:
    """Return a safetensors file of tensors of one number each."""
    entries = {
        f"layer.{index}.weight": {
            "dtype": "F32",
            "shape": [1],
            "data_offsets": [4 * index, 4 * index + 4],
        }
        for index in range(count)
    }
    return breaks_the_safetensors_header.around(json.dumps(entries).encode(), bytes(4 * count))


def try_cases(trial: Trial) -> tuple[dict[str, Any], list[str]]:
    """Send each case a few times; return the worst of each, and what was too much."""
    figures, wrong = {}, []
    for name, build in cases().items():
        data = build()
        found = [trial.send(own(name, data)) for _ in range(REPEATS)]
        seconds, mib = max(each.seconds for each in found), max(each.mib for each in found)
        figures[name] = {
            "bytes": len(data),
            "code": found[0].code,
            "seconds": round(seconds, 3),
            "mib": round(mib, 1),
        }
        wrong += [f"{name}: {each.wrong}" for each in found if each.wrong]
        if seconds > ALLOWED_S or mib > ALLOWED_MIB or found[0].code == "200":
            wrong.append(f"{name}: {figures[name]}")
    return figures, wrong
