"""The figures of the README, from the committed results of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.gpu_figures import NOT_MEASURED, gpu_figures
from scripts.job_figures import cancel_table, followers_table, kills_table
from scripts.service_figures import (
    fairness_table,
    idle_table,
    requests_headline,
    requests_table,
)

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
OF_JOBS = {"kills", "cancel", "followers"}
"""Benchmarks in `benchmarks/jobs`."""


def figures() -> str:
    """Return all of them, as Markdown."""
    parts = _speed, _plot, _start, _under_load, _growth, _memory, _digests, _smoke, _gpu
    return "\n\n".join(filter(None, (part() for part in parts)))


def headline() -> str:
    """Return three figures and the rates of requests, as Markdown."""
    library, serving = _result("library"), _result("serving")
    seconds, served = _medians(library), _medians(serving["results"][0])
    ready_s = _medians(_result("start"))["/readyz"]
    large = serving["results"][0]["megabytes"]
    rows = [
        "| what | takes | compared with |",
        "|---|---:|---|",
        f"| `convlast.convert`, {library['megabytes']:,} MiB | {seconds['convlast']:.2f} s "
        f"| {seconds['script']:.2f} s: load, convert, save and both digests, without a proof |",
        f"| `POST /convert`, {large:,.0f} MiB | {served['convlast']:.2f} s "
        f"| {served['floor']:.2f} s: the same bytes to disk and back |",
        f"| the start of the service, until it is ready | {ready_s:.2f} s | |",
    ]
    return "\n".join([*rows, "", requests_headline(_result("requests"))])


def _speed() -> str:
    """Compare the library and the service with what anyone would write."""
    library, serving = _result("library"), _result("serving")
    seconds = _medians(library)
    rows = [
        "| what | convlast | compared with | takes | convlast takes |",
        "|---|---:|---|---:|---:|",
        f"| `convlast.convert`, {library['megabytes']:,} MiB | {seconds['convlast']:.2f} s "
        f"| load, convert, save, and both digests | {seconds['script']:.2f} s "
        f"| {seconds['convlast'] / seconds['script']:.2f} times |",
    ]
    for found in serving["results"]:
        seconds = _medians(found)
        for name, meaning in _OTHERS.items():
            rows.append(
                f"| `POST /convert`, {found['megabytes']:,.0f} MiB | {seconds['convlast']:.3g} s "
                f"| {meaning} | {seconds[name]:.3g} s "
                f"| {seconds['convlast'] / seconds[name]:.2f} times |"
            )
    if "tiny" in serving:
        rows.append(_tiny(serving["tiny"]))
    notes = (
        "Medians, with `smoke=none`, a warm worker and everything on tmpfs: `convlast` proves what "
        "it made, the others do not; all take the SHA-256 of what comes and of what goes."
    )
    return _table(rows, notes, _measured("library", "serving"))


def _tiny(found: dict[str, Any]) -> str:
    """Tell what the default options take, which are the smoke and the ways of loading."""
    seconds = _medians(found)
    default, without = seconds["default"], seconds["smoke=none"]
    return (
        f"| `POST /convert`, {found['bytes'] / 1e3:.0f} kB, default options | {default:.3g} s "
        f"| the same with `smoke=none` | {without:.3g} s | {default / without:.2f} times |"
    )


_OTHERS = {
    "floor": "the same bytes to disk and back, nothing in between",
    "naive": "`UploadFile`, load, convert, save, `FileResponse`",
    "tuned": "the same on uvloop and httptools",
}


def _plot() -> str:
    """Draw the largest of the requests."""
    found = max(_result("serving")["results"], key=lambda each: float(each["megabytes"]))
    seconds = _medians(found)
    names = sorted(seconds, key=seconds.__getitem__)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta horizontal",
            f'    title "POST /convert with {found["megabytes"]:,.0f} MiB, seconds"',
            f"    x-axis [{', '.join(names)}]",
            f"    bar [{', '.join(format(seconds[name], '.2f') for name in names)}]",
            "```",
        ]
    )


def _start() -> str:
    """Tell how soon the service answers."""
    seconds = _medians(_result("start"))
    rows = ["| after the start of the service | |", "|---|---:|"]
    rows += [
        f"| `/livez` answers | {seconds['/livez']:.2f} s |",
        f"| `/readyz` does: a worker waits, warmed | {seconds['/readyz']:.2f} s |",
    ]
    return _table(rows, _measured("start"))


def _under_load() -> str:
    """Tell what many clients get, what a small job waits, what idle workers take, and of jobs."""
    tables = {
        "requests": (requests_table, "The naive service does no smoke and no proof."),
        "requests-workers": (requests_table, "The same with `CONVLAST_WORKERS`."),
        "fairness": (fairness_table, "`workers` is `CONVLAST_WORKERS`."),
        "idle": (idle_table, "Memory that processes share counts once."),
        "kills": (kills_table, "Jobs of a fake task, and clients that leave."),
        "cancel": (cancel_table, "When DELETE is answered, the job's process and files are gone."),
        "followers": (followers_table, "Half of them by event streams, half by long polls."),
    }
    return "\n\n".join(
        _table([table(_result(name))], note, _measured(name))
        for name, (table, note) in tables.items()
        if (RESULTS / f"{name}.json").exists()
    )


def _growth() -> str:
    """Tell how time grows."""
    growth, disk = _result("growth"), _result("growth-disk")
    sizes = [(each, "tmpfs") for each in growth["bytes"]]
    sizes += [(each, "disk") for each in disk["bytes"]]
    rows = ["| checkpoint, one small convolution | on | convlast | a copy and both digests | |"]
    rows += ["|---:|---|---:|---:|---:|"]
    rows += [
        f"| {each['megabytes']:,} MiB | {where} | {each['convlast_s']:.2f} s "
        f"| {each['copy_s']:.2f} s | {each['times_the_copy']:.2f} times |"
        for each, where in sizes
    ]
    rows += ["", "| tensors | convlast | each |", "|---:|---:|---:|"]
    rows += [
        f"| {each['tensors']:,} | {each['convlast_s']:.2f} s "
        f"| {each['microseconds_each']:,.0f} µs |"
        for each in growth["tensors"]
    ]
    return _table(rows, _measured("growth"))


def _memory() -> str:
    """Tell what memory a conversion takes."""
    result, disk = _result("memory"), _result("memory-disk")
    rows = [
        "| checkpoint | convolution weights | smoke | peak anonymous memory, torch included |",
        "|---:|---:|---|---:|",
    ]
    rows += [
        f"| {each['checkpoint_mib']:,} MiB | {each['convolution_weights_mib']:,.0f} MiB "
        f"| {'none' if found['smoke'] == 'none' else 'every layer'} | {each['peak_mib']:,.0f} MiB |"
        for found in (result, disk)
        for each in found["results"]
    ]
    return _table(rows, _measured("memory"))


def _digests() -> str:
    """Tell what digests of tensors cost, once that was measured."""
    if not (RESULTS / "digests.json").exists():
        return ""
    result = _result("digests")
    rows = [
        f"| `convlast.digest`, {result['megabytes']:,} MiB | takes | one SHA-256 pass "
        "| with one thread | memory |",
        "|---|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {layout} | {each['digest_s']:.2f} s | {each['sha256_s']:.2f} s "
        f"| {each['one_thread_s']:.2f} s | {each['peak_above_baseline_mib']:,.0f} MiB |"
        for layout, each in result["layouts"].items()
    ]
    return _table(rows, _measured("digests"))


def _smoke() -> str:
    """Tell what the smoke of a whole model costs."""
    result = _result("smoke")
    rows = ["| smoke of the whole model | input | in forwards in fp32 |", "|---|---|---:|"]
    rows += [
        f"| `{each['model']}`, {each['entry']} | {'×'.join(map(str, each['input_shape']))} "
        f"| {each['ratio']:.1f} |"
        for each in result["results"]
    ]
    return _table(rows, _measured("smoke"), "On a CPU: what it takes, not pays.")


def _gpu() -> str:
    """Tell what the layout pays on a GPU, once there was one."""
    is_measured = (RESULTS / "gpu.json").exists()
    return gpu_figures(_result("gpu")) if is_measured else NOT_MEASURED


def _table(rows: list[str], *notes: str) -> str:
    return "\n".join([*rows, "", " ".join(notes)])


def _medians(result: dict[str, Any]) -> dict[str, float]:
    return {name: each["median"] for name, each in result["seconds"].items()}


def _measured(*names: str) -> str:
    """Say by which benchmarks, where and when; those of one table are run on one machine."""
    result = _result(names[0])
    machine = result.get("machine", result)
    programs = " and ".join(f"`benchmarks/{_program(name)}`" for name in names)
    return (
        f"Measured by {programs} on {machine['cpu']}, {machine['cores']} cores, torch "
        f"{machine['torch']}, on {machine['date']}."
    )


def _program(name: str) -> str:
    """Return the benchmark of a result, below `benchmarks`."""
    return f"jobs/{name}.py" if name in OF_JOBS else f"{name.partition('-')[0]}.py"


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found
