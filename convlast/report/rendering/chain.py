"""The chain of modules that activations pass through, cut where the layout changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convlast.report.rendering import notation
from convlast.report.smoke import Permutations, TraceStep, is_in_5d

_LAYOUTS = {
    "channels_last_3d": "channels-last",
    "contiguous_format": "contiguous",
    "both": "either",
    "strided": "strided",
}


def layout_name(layout: str) -> str:
    """Return the common name of a layout.

    >>> layout_name("channels_last_3d"), layout_name("4d")
    ('channels-last', '4-D')
    """
    return _LAYOUTS.get(layout, layout) if is_in_5d(layout) else layout.upper().replace("D", "-D")


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
        if links and layout == "both" and is_in_5d(links[-1].layout):
            layout = links[-1].layout
        if not links or step.permutes or layout != links[-1].layout:
            links.append(Link(layout, step.permutes))
        links[-1].steps.append(step)
    return links


def words_on(permutations: Permutations) -> str:
    """Say how many permutations a forward makes, against the best case."""
    said = f"{notation.count(permutations.number, 'permutation')} of"
    best = f"{permutations.best_number} of {notation.size(permutations.best_bytes)}"
    return (
        f"{said} {notation.size(permutations.bytes)} in a forward; "
        f"at best {best if permutations.best_number else 'none'}."
    )
