"""The result of `benchmarks.gpu` in a few lines, also where it was broken off.

python -m scripts.gpu.summary FILE
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def told(result: dict[str, Any]) -> Iterator[str]:
    """Give a line for each case of weights, and for each model."""
    for each in result["weights"].get("results", ()):
        rates = ", ".join(
            f"{way} {rate / 2**30:.2f} GiB/s" for way, rate in each["bytes_per_s"].items()
        )
        yield f"weights, {each['case']}: {rates}; same bytes: {each['same_bytes']}"
    for each in result["results"]:
        yield f"{each['model']}: {_of_model(each)}"


def _of_model(result: dict[str, Any]) -> str:
    if "error" in result:
        return f"error: {result['error']}"
    first = result["settings"][0]
    of_all = first["all"]
    return (
        f"contiguous {1e3 * of_all['contiguous_s']:.2f} ms, "
        f"converted {1e3 * of_all['converted_s']:.2f} ms; "
        f"times as fast: all {of_all['speedup']:.3f}, fastest {first['fastest']['speedup']:.3f}, "
        f"which chose {result['choice']['chosen']}; passed: {result['passed']}; "
        f"routes: {[seen['routes'] for seen in result['kernels']]}"
    )


if __name__ == "__main__":
    print("\n".join(told(json.loads(Path(sys.argv[1]).read_text()))))
