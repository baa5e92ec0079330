"""The layers in a terminal: a line each, or all that is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from convlast.report.rendering import chain, notation, summary
from convlast.report.rendering.paragraph import Paragraph, below, plain
from convlast.report.sections import Layer, LayerSmoke, Smoke

MAX_SHORT = 10
"""The most layers that a conversion shows without being asked."""

MAX_LAYERS = 40
"""The most layers that are shown of a file that only inspects; `-v` has all."""

MAX_LINKS = 16
"""The most links of the chain that are shown."""

_MAX_ASSUMPTIONS = 5
_LEGEND = "Relative errors: dtype is fp16 against fp32, layout is both layouts in fp16."
_WIDTH = 13
"""The columns of a layer's status."""

_STATUS_STYLES = {"skipped": "yellow"}
_SMOKE_STYLES = {"inaccurate": "yellow", "failed": "bold red"}


def in_short(layers: Sequence[Layer]) -> Iterator[RenderableType]:
    """Show each layer in a line; if there are too many, those with problems come first."""
    shown = layers
    if len(layers) > MAX_LAYERS:
        shown = sorted(layers, key=summary.is_troubled, reverse=True)[:MAX_LAYERS]
    for layer in shown:
        facts = [f"{_kind(layer)}{notation.shape(layer.shape)} {layer.dtype}"]
        if layer.reason:
            facts.append(layer.reason)
        if layer.alias_of:
            facts.append(f"same storage as {layer.alias_of}")
        if layer.smoke and layer.smoke.status in _SMOKE_STYLES:
            facts.append(f"fp16 {layer.smoke.status}")
        text = Text.assemble(plain(layer.name), plain(f"  {', '.join(facts)}", "dim"))
        yield Paragraph(_status(layer), text, _WIDTH)
    if len(layers) > len(shown):
        yield plain(
            f"… and {notation.count(len(layers) - len(shown), 'more layer')}; -v shows all.", "dim"
        )


def in_full(layers: Sequence[Layer], smoke: Smoke | None) -> Iterator[RenderableType]:
    """Show each layer with its strides and its smoke, and the layout through the model."""
    for layer in layers:
        first, *rest = _lines(layer)
        yield Paragraph(_status(layer), first, _WIDTH)
        for line in rest:
            yield below(line, _WIDTH)
    if any(layer.smoke for layer in layers):
        yield plain(_LEGEND, "dim")
    yield from _assumptions(layers)
    if smoke and smoke.trace:
        yield Text("\nThe layout through the model", "bold")
        yield from _chain(smoke)


def _kind(layer: Layer) -> str:
    return "" if layer.kind == "unknown" else f"{layer.kind} "


def _status(layer: Layer) -> Text:
    return Text(layer.status, _STATUS_STYLES.get(layer.status, ""))


def _lines(layer: Layer) -> Iterator[Text]:
    yield plain(layer.name, "bold")
    strides = map(notation.strides, (layer.stride_before, layer.stride_after))
    weight = f"{layer.kind} {notation.shape(layer.shape)} {layer.dtype}"
    yield plain(f"{weight}, {' → '.join(dict.fromkeys(strides))}", "dim")
    if layer.reason:
        yield plain(layer.reason, "yellow")
    if layer.alias_of:
        yield plain(f"same storage as {layer.alias_of}", "dim")
    if layer.smoke:
        yield _smoke(layer.smoke)


def _smoke(smoke: LayerSmoke) -> Text:
    facts = [] if smoke.finite is None else ["finite" if smoke.finite else "not finite"]
    facts.extend(
        f"{pair} {notation.magnitude(parity.relative)}"
        for pair in ("dtype", "layout")
        if (parity := summary.find_parity(smoke, pair))
    )
    if smoke.input_shape:
        facts.append(f"input {notation.shape(smoke.input_shape)}")
    facts.extend(note for note in (smoke.output_memory_format, smoke.reason) if note)
    text = Text(f"fp16 {smoke.status}", _SMOKE_STYLES.get(smoke.status, "dim"))
    return Text.assemble(text, plain("".join(f", {fact}" for fact in facts), "dim"))


def _assumptions(layers: Iterable[Layer]) -> Iterator[RenderableType]:
    assumed = summary.count_assumptions(layers)
    if not assumed:
        return
    shown = list(assumed.items())[:_MAX_ASSUMPTIONS]
    listed = ", ".join(f"{text} ({notation.count(number, 'layer')})" for text, number in shown)
    more = len(assumed) - len(shown)
    rest = f", and {notation.count(more, 'more assumption')}" if more else ""
    yield below(plain(f"Assumed, since the file does not say: {listed}{rest}.", "dim"), 0)


def _chain(smoke: Smoke) -> Iterator[RenderableType]:
    if smoke.permutations:
        yield below(plain(chain.words_on(smoke.permutations)), 0)
    links = chain.links_of(smoke.trace)
    for link in links[:MAX_LINKS]:
        mark = "⇄" if link.permutes else " "
        layout = chain.layout_name(link.layout)
        style = "yellow" if link.permutes else ""
        text = Text.assemble(plain(link.title), plain(f" {link.rest}", "dim"))
        yield Paragraph(Text(f"  {mark} {layout}", style), text, 18)
    if len(links) > MAX_LINKS:
        yield plain(f"… and {notation.count(len(links) - MAX_LINKS, 'more link')}: --json.", "dim")
