"""What to do with the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from torch import nn

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.report import Advice, Decision, FileSection, Finding, Smoke, verdict_of

_LOAD = {
    "torch": "state_dict = torch.load({name!r}, weights_only=True){wrapper}\n"
    "model.load_state_dict(state_dict, assign=True)  # without assign=True the layout is lost",
    "more than tensors": "convlast.load_into(model, {name!r})  # the file needs more than "
    "torch.load's weights_only=True allows",
    "module": "model = convlast.load({name!r})  # or torch.load with weights_only=False",
    "torchscript": "model = torch.jit.load({name!r})",
    "program": "model = torch.export.load({name!r}).module()",
    "safetensors": "convlast.load_into(model, {name!r})  # a plain load gives contiguous weights",
}

_MAX_REASONS = 10


def advise(
    findings: Sequence[Finding],
    smoke: Smoke | None,
    *,
    filename: str,
    way: str,
    wrapper: str | None,
) -> Advice:
    """Say whether to use the artifact, why, and how to load it.

    Args:
        findings: All that was found.
        smoke: The fp16 inference, if there was one.
        filename: The artifact's name.
        way: How it is loaded, by `way_of_loading`.
        wrapper: Path of the state dict in it.
    """
    load = _LOAD[way].format(name=filename, wrapper=_subscripts(wrapper))
    if verdict_of(list(findings)) == "failed":
        broken = [finding.message for finding in findings if finding.severity == "error"]
        return Advice(decision="keep", reasons=["Keep your file.", *broken[:5]], load=load)
    reasons = ["Speed was not measured on a GPU: whether it pays there is open."]
    if smoke is not None and smoke.scope == "layers":
        reasons.append(
            "Layers were run one by one, with assumed strides and padding: what stands between "
            "them, which can undo the layout, was not looked at."
        )
    return Advice(decision="undecided", reasons=reasons, load=load)


def advise_on_shard(advice: Advice, index: str) -> Advice:
    """Say how a shard is loaded, which is with all others."""
    load = f"convlast.load_into(model, {index!r})  # the index, and by it all shards"
    return advice.model_copy(update={"load": load})


def advise_on_folder(
    files: Sequence[FileSection], findings: Sequence[Finding], filename: str
) -> Advice:
    """Say whether to use a converted model folder, why, and how to load from it.

    Args:
        files: Its files.
        findings: All that was found in them.
        filename: The artifact's name.
    """
    advised = {file.path: file.advice for file in files if file.advice}
    decisions = {advice.decision for advice in advised.values()}
    reasons = list(dict.fromkeys(r for advice in advised.values() for r in advice.reasons))
    decision: Decision = decisions.pop() if len(decisions) == 1 else "undecided"
    if verdict_of(list(findings)) == "failed":
        decision = "keep"
    place = str(PurePosixPath(filename, min(advised, default="")).parent)
    load = (
        f"convlast.apply_layout(model, {place!r})  # after from_pretrained, or another loader, "
        "which leaves weights contiguous"
    )
    return Advice(decision=decision, reasons=reasons[:_MAX_REASONS], load=load)


def way_of_loading(checkpoint: Checkpoint, container: str) -> str:
    """Say how an artifact is loaded that was made of this checkpoint."""
    if container != "torch" or not checkpoint.asks_for:
        return container
    return "module" if isinstance(checkpoint.root, nn.Module) else "more than tensors"


def _subscripts(wrapper: str | None) -> str:
    """Write the way into a wrapper as Python does.

    >>> _subscripts("models.0.net")
    "['models'][0]['net']"
    """
    parts = wrapper.split(".") if wrapper else []
    return "".join(f"[{part}]" if part.isdigit() else f"[{part!r}]" for part in parts)
