"""The figures of a GPU for the README: models in fp16, and weights on their way through it."""

from __future__ import annotations

from typing import Any

NOT_MEASURED = "No GPU has been measured yet; `make bench-gpu` does it."


def gpu_figures(result: dict[str, Any]) -> str:
    """Return what `benchmarks.gpu` measured, as Markdown."""
    measured = [each for each in result["results"] if "error" not in each]
    parts = [_models(result), _notes(result, measured)]
    if measured:
        parts.insert(1, _plot(measured))
    if "error" not in result["weights"]:
        parts.append(_weights(result["weights"]))
    if "jobs_per_s" in result.get("throughput", {}):
        parts.append(_throughput(result["throughput"]))
    if "results" in result.get("parallel", {}):
        parts.append(_parallel(result["parallel"]["results"]))
    return "\n\n".join([*parts, _measured(result["machine"])])


def _models(result: dict[str, Any]) -> str:
    """Tell what a forward takes, in fp16 and under autocast, and what trial by cuDNN changes."""
    rows = [
        "| model, input | in | contiguous | all converted | `select=fastest` "
        "| by trial: all | `fastest` | memory | all converted |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in result["results"]:
        if "error" in each:
            words = each["error"].replace("|", "/")
            rows.append(f"| {each['model']} | failed: {words} | | | | | | | |")
            continue
        name = f"{each['model']}, {'×'.join(map(str, each['input_shape']))}"
        plain, by_trial, autocast, autocast_by_trial = each["settings"]
        for how, off, on in (
            ("fp16", plain, by_trial),
            ("autocast", autocast, autocast_by_trial),
        ):
            cells = [name, how, f"{off['all']['contiguous_s'] * 1e3:.2f} ms"]
            cells += [_times(found[kind]) for found in (off, on) for kind in ("all", "fastest")]
            cells += [
                _mib(off["all"][f"{kind}_peak_bytes"]) for kind in ("contiguous", "converted")
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _plot(measured: list[dict[str, Any]]) -> str:
    """Draw how many times as fast each model is, in fp16."""
    names = ", ".join(f'"{each["model"]}"' for each in measured)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta horizontal",
            '    title "fp16, times as fast as contiguous: fastest (bars), all converted (line)"',
            f"    x-axis [{names}]",
            f"    bar [{_speedups(measured, 'fastest')}]",
            f"    line [{_speedups(measured, 'all')}]",
            "```",
        ]
    )


def _notes(result: dict[str, Any], measured: list[dict[str, Any]]) -> str:
    """Say what the columns are, what was chosen, and whether it keeps its promise."""
    chosen = ", ".join(
        f"{each['model']} {len(each['choice']['layers'])} of {each['convertible']}"
        for each in measured
    )
    slower = [each["model"] for each in measured if not each["passed"]]
    notes = [
        "Medians of a forward, with random weights; then how many times as fast it is, and half "
        "the distance of the quartiles. By trial: with `torch.backends.cudnn.benchmark`. Memory is "
        "the highest of a forward, the model included.",
        f"Layers that `fastest` converts: {chosen}." if chosen else "",
        "Timed again, `fastest` was no slower than the better of all and none, beyond the noise, "
        f"in {len(measured) - len(slower)} of {len(measured)} models"
        + (f", and not so in {', '.join(slower)}." if slower else "."),
        f"Left out, since not installed: {', '.join(result['absent'])}."
        if result["absent"]
        else "",
    ]
    return " ".join(filter(None, notes))


def _weights(weights: dict[str, Any]) -> str:
    """Tell how fast weights pass through the GPU, beside a copy there and back."""
    rows = [
        "| weights, GB/s | pinned copy there and back | permuted on the way "
        "| read from memory and permuted | on the CPU |",
        "|---|---:|---:|---:|---:|",
    ]
    for each in weights["results"]:
        rates = [
            f"{each['bytes_per_s'][way] / 1e9:.2f}"
            for way in ("pinned", "permuted", "converted", "cpu")
        ]
        size = each["bytes"] / each["weights"] / 1e6
        rows.append(f"| {each['weights']} of {size:.3g} MB | {' | '.join(rates)} |")
    return "\n".join(rows)


def _throughput(found: dict[str, Any]) -> str:
    """Tell what the service takes for small jobs, each in a process that has to start CUDA."""
    steps = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["warm_up_s"].items())
    rows = [
        "| the service, 6 kB a job | |",
        "|---|---:|",
        f"| ready after its start | {found['ready_s']:.1f} s |",
        f"| first job, by a worker that is warm | {found['first_s']:.2f} s |",
        f"| each of the next, one after the other | {found['next_s']['median']:.2f} s |",
        f"| of which it waits for a worker that is warm | {found['queue_s']:.2f} s |",
        f"| jobs a second | {found['jobs_per_s']:.2f} |",
    ]
    return "\n".join([*rows, "", f"A worker's warm-up, step by step: {steps}."])


def _parallel(found: list[dict[str, Any]]) -> str:
    """Tell how many jobs a second one GPU and more do at once."""
    rows = ["| GPUs | clients at once | jobs a second, 6 kB each | times one GPU |"]
    rows += ["|---:|---:|---:|---:|"]
    for each in found:
        times = "" if each["times_one"] is None else f"{each['times_one']:.2f}"
        cells = [each["gpus"], each["clients"], f"{each['answers_per_s']:.2f}", times]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def _measured(machine: dict[str, Any]) -> str:
    return (
        f"Measured by `benchmarks/gpu/` on {machine['gpu']}, up to {machine['max_sm_mhz']} MHz, "
        f"driver {machine['driver']}, torch {machine['torch']}, CUDA {machine['cuda']}, cuDNN "
        f"{machine['cudnn']}, on {machine['date']}."
    )


def _speedups(measured: list[dict[str, Any]], kind: str) -> str:
    return ", ".join(format(each["settings"][0][kind]["speedup"], ".2f") for each in measured)


def _times(timing: dict[str, Any]) -> str:
    mark = "" if timing["stable"] else ", unstable"
    return f"{timing['speedup']:.2f} ± {timing['spread']:.2f}{mark}"


def _mib(nbytes: int | None) -> str:
    return "" if nbytes is None else f"{nbytes / 2**20:,.0f} MiB"
