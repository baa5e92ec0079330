"""What to do with the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from convlast.checkpoints.tree import KeyPath
from convlast.options import Options
from convlast.report import Advice, Decision, FileSection, Finding, Layer, Smoke, verdict_of

_MAX_REASONS = 10

_MAX_KINDS = 4

_OF_CHOICE: dict[str, Decision] = {"all": "convert", "some": "convert_some", "none": "keep"}

_CLEARLY = 0.95
"""A convolution is faster alone if it takes less than this share of the contiguous time."""

_NOTABLE = 0.02
"""Permuting kernels are mentioned if they take more than this share of the time."""

_COSTLY = 0.05
"""Other operators are mentioned if they lose more than this share of the time of all kernels."""


def advise(
    findings: Sequence[Finding],
    smoke: Smoke | None,
    *,
    filename: str,
    loading_code: str,
    wrapper: KeyPath,
) -> Advice:
    """Say whether to use the artifact, why, and how to load it.

    Args:
        findings: All findings.
        smoke: The fp16 inference, if there was one.
        filename: The artifact's name.
        loading_code: How it is loaded, as `WritableContainer.loading_code` has it.
        wrapper: The path of the state dict in it.
    """
    load = loading_code.format(name=filename, wrapper=_subscripts(wrapper))
    if verdict_of(list(findings)) == "failed":
        broken = [finding.message for finding in findings if finding.severity == "error"]
        return Advice(decision="keep", reasons=["Keep your file.", *broken[:5]], load=load)
    decision, reason = _decide(smoke)
    return Advice(decision=decision, reasons=[reason, *_reasons(smoke)], load=load)


def _decide(smoke: Smoke | None) -> tuple[Decision, str]:
    """Decide by the measured speed, and say what it was."""
    timing = smoke.timing if smoke else None
    if smoke is None or timing is None or not timing.representative:
        return "undecided", "Speed was not measured on a GPU: whether it pays there is open."
    measured = f"{timing.speedup:.2f} times as fast (± {timing.spread:.2f}) as the contiguous one"
    if smoke.choice is not None:
        decision = _OF_CHOICE[smoke.choice.chosen]
        return decision, f"What select=fastest chose is {measured}."
    if timing.tendency > 0:
        return "convert", f"The converted model is {measured}."
    gained_s = _gained_alone(smoke)
    if sum(gained_s) > max(sum(_lost_s(smoke).values()), 0.0):
        return "convert_some", (
            f"The converted model is {measured}, and {len(gained_s)} convolutions are faster "
            "alone: select=fastest finds those that pay."
        )
    return "keep", f"The converted model is {measured}: it gains nothing here."


def _gained_alone(smoke: Smoke) -> list[float]:
    """Return the seconds that each convolution gains whose own kernels take less converted."""
    seconds: dict[str, dict[str, float]] = {"contiguous": {}, "converted": {}}
    for found in smoke.dispatch:
        times = seconds[found.weights]
        times[found.layer] = times.get(found.layer, 0.0) + found.seconds
    before, after = seconds["contiguous"], seconds["converted"]
    faster = [layer for layer in after if after[layer] < before.get(layer, 0.0) * _CLEARLY]
    return [before[layer] - after[layer] for layer in faster]


def _lost_s(smoke: Smoke) -> dict[str, float]:
    """Return the seconds that each operator outside the convolutions takes more, converted."""
    lost_s: dict[str, float] = {}
    for found in smoke.operators:
        sign = 1 if found.weights == "converted" else -1
        lost_s[found.operator] = lost_s.get(found.operator, 0.0) + sign * found.seconds
    return lost_s


def _reasons(smoke: Smoke | None) -> Iterator[str]:
    """Yield further reasons that a person can act on."""
    if smoke is None or smoke.scope == "none":
        return
    if smoke.scope == "layers" and smoke.status != "skipped":
        yield (
            "Layers were run one by one: the modules between them, which can undo the layout, were "
            "not checked."
        )
    yield from _of_layout(smoke)
    for found in smoke.layout_kernels:
        if found.weights == "converted" and found.share > _NOTABLE:
            yield f"Kernels that only permute take {found.share:.0%} of the time."
    yield from _of_operators(smoke)
    yield from _of_other_settings(smoke)
    yield from smoke.hints


def _of_operators(smoke: Smoke) -> Iterator[str]:
    """Say how much time the operators outside the convolutions lose, and which loses most."""
    before, after = _convolution_s(smoke)
    lost_s = _lost_s(smoke)
    all_s = before + sum(o.seconds for o in smoke.operators if o.weights == "contiguous")
    if not lost_s or sum(lost_s.values()) <= all_s * _COSTLY:
        return
    most = max(lost_s, key=lost_s.__getitem__)
    convolutions = f"{abs(before - after) * 1e3:.2f} ms {'less' if after < before else 'more'}"
    yield (
        f"Converted, the convolutions take {convolutions} in a forward, but the other operators "
        f"take {sum(lost_s.values()) * 1e3:.2f} ms more, {most} most of it "
        f"({lost_s[most] * 1e3:.2f} ms)."
    )


def _of_other_settings(smoke: Smoke) -> Iterator[str]:
    """Name the settings in which the model gains or loses, unlike in the one that decides."""
    decisive = smoke.timing
    if decisive is None or not decisive.representative:
        return
    for timing in smoke.timings:
        if timing.tendency not in (0, decisive.tendency):
            under = "autocast" if timing.autocast else timing.dtype
            trial = " with cudnn.benchmark" if timing.cudnn_benchmark else ""
            shape = "×".join(map(str, timing.input_shape or ()))
            yield (
                f"Under {under}{trial}, with an input of {shape}, it is {timing.speedup:.2f} times "
                f"as fast (± {timing.spread:.2f})."
            )


def _convolution_s(smoke: Smoke) -> tuple[float, float]:
    """Return the time of all convolutions, contiguous and converted."""
    before, after = (
        sum(found.seconds for found in smoke.dispatch if found.weights == weights)
        for weights in ("contiguous", "converted")
    )
    return before, after


def _of_layout(smoke: Smoke) -> Iterator[str]:
    """Say what becomes of the layout on the way, on the device of the smoke and on CUDA."""
    done, breakers, later = smoke.permutations, _breakers(smoke), kept_on_cpu_alone(smoke)
    here = " on this CPU" if smoke.device == "cpu" else ""
    if done is not None and done.number > done.best_number:
        times = "permutation" if done.number == 1 else "permutations"
        broken = f" The chain is broken by {', '.join(breakers)}." if breakers else ""
        yield (
            f"A forward makes {done.number:,} {times} of {done.bytes:,} bytes{here}; the best case "
            f"is {done.best_number}.{broken}"
        )
    elif done is not None and not later and _is_channels_last(smoke):
        yield f"The layout stays channels-last{here} from the first convolution on."
    if later:
        yield (
            f"On CUDA the chain is broken by {len(later)} × GroupNorm (such as {later[0]}), each "
            "with two permutations, though not on this CPU."
        )


def kept_on_cpu_alone(smoke: Smoke) -> list[str]:
    """Return the modules that kept channels-last on this CPU and do not on CUDA, in order.

    Source: https://github.com/pytorch/pytorch/issues/111824
    """
    if smoke.device != "cpu" or smoke.permutations is None:
        return []
    kept = (
        step.module
        for step in smoke.trace
        if ("GroupNorm" in step.kind or "group_norm" in step.kind)
        and step.output_memory_format == "channels_last_3d"
    )
    return list(dict.fromkeys(kept))


def _is_channels_last(smoke: Smoke) -> bool:
    """Say whether the activations were channels-last at all, which an undone layout's are not."""
    return any(step.output_memory_format == "channels_last_3d" for step in smoke.trace)


def _breakers(smoke: Smoke) -> list[str]:
    """Name the kinds of modules that break the chain, the commonest first, with an example each."""
    examples: dict[str, list[str]] = {}
    for flip in smoke.flips:
        if flip.cause is None and flip.output_memory_format == "contiguous_format":
            examples.setdefault(flip.kind, []).append(flip.module)
    ordered = sorted(examples.items(), key=lambda item: -len(item[1]))
    return [f"{len(names)} × {kind} (such as {names[0]})" for kind, names in ordered[:_MAX_KINDS]]


def advise_on_shard(advice: Advice, index: str) -> Advice:
    """Say how a shard is loaded, which is together with all others."""
    load = f"convlast.load_into(model, {index!r})  # the index, which names all shards"
    return advice.model_copy(update={"load": load})


def advise_on_folder(
    files: Sequence[FileSection],
    layers: Sequence[Layer],
    findings: Sequence[Finding],
    filename: str,
    options: Options,
) -> Advice:
    """Say whether to use a converted model folder, why, and how to load from it.

    Args:
        files: Its files.
        layers: Their layers.
        findings: All findings about them.
        filename: The artifact's name.
        options: What was asked for.
    """
    advised = {file.path: file.advice for file in files if file.advice}
    decisions = {advice.decision for advice in advised.values()}
    reasons = list(dict.fromkeys(r for advice in advised.values() for r in advice.reasons))
    decision: Decision = decisions.pop() if len(decisions) == 1 else "undecided"
    if verdict_of(list(findings)) == "failed":
        decision = "keep"
    has_layout = options.memory_format == "channels_last_3d" and any(
        layer.status in {"converted", "already"} for layer in layers
    )
    load = _loading_of_folder(filename, min(advised, default=""), has_layout=has_layout)
    return Advice(decision=decision, reasons=reasons[:_MAX_REASONS], load=load)


def _loading_of_folder(filename: str, first: str, *, has_layout: bool) -> str:
    """Return how a folder is loaded, given the path of its first converted file."""
    is_archive = filename.endswith((".zip", ".tar"))
    place = str(PurePosixPath("" if is_archive else filename, first).parent)
    unpacked = f"# unpack {filename} first\n" if is_archive else ""
    if not has_layout:
        return f"{unpacked}# load {place!r} as the original: weights are contiguous"
    return f"{unpacked}convlast.apply_layout(model, {place!r})  # after from_pretrained or the like"


def _subscripts(path: KeyPath) -> str:
    """Write the path of a state dict as Python subscripts.

    >>> _subscripts(("models", 0, "net.ema", "1"))
    "['models'][0]['net.ema']['1']"
    """
    return "".join(f"[{part!r}]" for part in path)
