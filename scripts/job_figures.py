"""The figures of asynchronous jobs: killed, cancelled, and waited for by many clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


def kills_table(result: Mapping[str, Any]) -> str:
    """Return `benchmarks.jobs.kills`, as Markdown."""
    ends = Counter[str]()
    for named, count in result["outcomes"].items():
        ends[named.partition(": ")[2]] += count
    rows = ["| accepted jobs while services and workers are killed | |", "|---|---:|"]
    rows += [f"| {what} | {count:,} |" for what, count in sorted(result["harm"].items())]
    rows += [
        f"| accepted jobs | {result['jobs']:,} |",
        f"| begun more than once | {result['begun_more_than_once']:,} |",
        *(f"| ended as {end} | {count:,} |" for end, count in sorted(ends.items())),
        f"| lost, with two results, or left behind | {len(result['wrong']):,} |",
    ]
    return "\n".join(rows)


def cancel_table(result: Mapping[str, Any]) -> str:
    """Return `benchmarks.jobs.cancel`, as Markdown."""
    return "\n".join(
        [
            "| jobs cancelled at random moments | median | 99th percentile | longest |",
            "|---:|---:|---:|---:|",
            f"| {result['tries']:,} | {result['median_s']:.3f} s | {result['p99_s']:.3f} s "
            f"| {result['longest_s']:.3f} s |",
        ]
    )


def followers_table(result: Mapping[str, Any]) -> str:
    """Return `benchmarks.jobs.followers`, as Markdown."""
    memory = result["resident_mib"]
    return "\n".join(
        [
            "| clients that wait at once | told of the end | `/livez` meanwhile, 99th percentile "
            "| HTTP process, idle | at most |",
            "|---:|---:|---:|---:|---:|",
            f"| {result['open_at_once']:,} | {result['told'].get('succeeded', 0):,} "
            f"| {result['livez']['p99_s'] * 1000:.0f} ms | {memory['idle']:.0f} MiB "
            f"| {memory['peak']:.0f} MiB |",
        ]
    )
