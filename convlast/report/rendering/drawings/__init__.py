"""Pictures of a report, as SVG: `ranges`, `chain` and `times`; and `survival`, which is a table.

Horizontal places are percentages of the width, so that a picture fits any width and its text keeps
its size. Colours come from the classes of `drawings.css`, and a `style` attribute is never written.
"""

from convlast.report.rendering.drawings.loading import survival as survival
from convlast.report.rendering.drawings.magnitudes import ranges as ranges
from convlast.report.rendering.drawings.magnitudes import (
    spans_of_activations as spans_of_activations,
)
from convlast.report.rendering.drawings.magnitudes import spans_of_tensors as spans_of_tensors
from convlast.report.rendering.drawings.strip import chain as chain
from convlast.report.rendering.drawings.timings import times as times
