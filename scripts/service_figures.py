"""The figures of the service under many requests, beside the service that anyone would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADLINE_CLIENTS = 8


def requests_headline(result: Mapping[str, Any]) -> str:
    """Return one number of clients of `benchmarks.requests`, as Markdown."""
    rows = [
        f"| answers a second, {HEADLINE_CLIENTS} clients at once | convlast "
        "| the service that anyone would write, on uvloop, without smoke or proof | ratio |",
        "|---|---:|---:|---:|",
    ]
    rows += [
        f"| `POST /convert`, {_case(each)} | {_rates(each)} |"
        for each in result["results"]
        if each["clients"] == HEADLINE_CLIENTS
    ]
    return "\n".join(rows)


def requests_table(result: Mapping[str, Any]) -> str:
    """Return all of `benchmarks.requests`, as Markdown; with the workers if they were varied."""
    by_workers = any(each["workers"] for each in result["results"])
    names = ["checkpoint, options", *(["workers"] if by_workers else []), "clients at once"]
    names += ["convlast, answers a second", "the naive service on uvloop", "ratio"]
    names += ["convlast, median"]
    rows = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    for each in result["results"]:
        cells = [_case(each), *([str(each["workers"])] if by_workers else [])]
        cells += [str(each["clients"]), _rates(each), f"{each['convlast']['median_s']:.3g} s"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def fairness_table(result: Mapping[str, Any]) -> str:
    """Return `benchmarks.fairness`, as Markdown."""
    rows = [
        f"| workers | a long job takes | a small job of another key waits behind "
        f"{result['long_jobs']} of them, at worst | in long jobs |",
        "|---|---:|---:|---:|",
    ]
    rows += [
        f"| {each['workers'] or 'by default'} | {each['long_s']:.2f} s "
        f"| {each['worst_wait_s']:.2f} s | {each['long_jobs_waited']:.2f} |"
        for each in result["results"]
    ]
    return "\n".join(rows)


def idle_table(result: Mapping[str, Any]) -> str:
    """Return `benchmarks.idle`, as Markdown."""
    rows = [
        "| warm workers | memory when idle | service | fork server | workers |",
        "|---|---:|---:|---:|---:|",
    ]
    for each in result["results"]:
        parts = each["mib"]
        cells = [parts[name] for name in ("all", "service", "fork_server", "workers")]
        shown = " | ".join(f"{mib:,.0f} MiB" for mib in cells)
        number = each["warm_workers"]
        rows.append(f"| {'by default' if number is None else number} | {shown} |")
    return "\n".join(rows)


def _case(row: Mapping[str, Any]) -> str:
    options = "default options" if row["options"] == "default" else f"`{row['options']}`"
    return f"{row['file']}, {options}"


def _rates(row: Mapping[str, Any]) -> str:
    mine, naive = row["convlast"]["answers_per_s"], row["tuned"]["answers_per_s"]
    return f"{mine:.1f} | {naive:.1f} | {row['share_of_tuned']:.2f}"
