"""The chain of modules that activations pass through, cut where the layout changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convlast.report.rendering import notation
from convlast.report.rendering.markup import Markup, element
from convlast.report.smoke import Permutations, TraceStep

MAX_LINKS = 60
"""The most links that are drawn; the JSON report has every step."""

LAYOUTS = {
    "channels_last_3d": "channels-last",
    "contiguous_format": "contiguous",
    "both": "either",
    "strided": "strided",
}


@dataclass
class Link:
    """Consecutive modules with the same output layout, of which only the first may change it.

    Attributes:
        layout: The layout of all their outputs.
        permutes: Whether the first one permutes.
        steps: The modules.
    """

    layout: str
    permutes: bool
    steps: list[TraceStep] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The first module, which is the one that permutes if one does."""
        first = self.steps[0]
        return f"{first.module} ({first.kind})"

    @property
    def rest(self) -> str:
        """The number of further modules, and the last of them."""
        number = len(self.steps) - 1
        if not number:
            return ""
        return f"and {notation.count(number, 'more module')}, to {self.steps[-1].module}"


def links_of(trace: Sequence[TraceStep]) -> list[Link]:
    """Cut a chain where a module permutes.

    >>> steps = [TraceStep(module=name, kind="", input_memory_format="both",
    ...                    output_memory_format=out, permutes=out == "contiguous_format")
    ...          for name, out in [("a", "both"), ("b", "both"), ("norm", "contiguous_format")]]
    >>> [(link.layout, len(link.steps)) for link in links_of(steps)]
    [('both', 2), ('contiguous_format', 1)]
    """
    links: list[Link] = []
    for step in trace:
        layout = step.output_memory_format
        if links and layout == "both":
            layout = links[-1].layout
        if not links or step.permutes or layout != links[-1].layout:
            links.append(Link(layout, step.permutes))
        links[-1].steps.append(step)
    return links


def words_on(permutations: Permutations) -> str:
    """Say how many permutations a forward makes, against the best case."""
    return (
        f"{notation.count(permutations.number, 'permutation')} of "
        f"{notation.size(permutations.bytes)} in a forward; at best {permutations.best_number} of "
        f"{notation.size(permutations.best_bytes)}."
    )


def draw(trace: Sequence[TraceStep], permutations: Permutations | None) -> Markup:
    """Draw the chain as boxes, one for each link, coloured by layout."""
    links = links_of(trace)
    boxes = [_box(link) for link in links[:MAX_LINKS]]
    parts = [element("ol", *boxes, class_="chain")]
    if permutations:
        parts.insert(0, element("p", words_on(permutations), class_="note"))
    if len(links) > MAX_LINKS:
        left_out = f"… and {notation.count(len(links) - MAX_LINKS, 'more link')}; the JSON has all."
        parts.append(element("p", left_out, class_="note"))
    return element("div", *parts)


def _box(link: Link) -> Markup:
    mark = "⇄ " if link.permutes else ""
    return element(
        "li",
        element("b", f"{mark}{LAYOUTS.get(link.layout, link.layout)}"),
        element("code", link.title),
        *([element("small", link.rest)] if link.rest else []),
        class_=f"link {link.layout}",
    )
