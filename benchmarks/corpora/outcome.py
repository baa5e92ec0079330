"""What has come of all samples, in figures."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.corpora.encodings import AS_IT_IS
from benchmarks.corpora.samples import Sample
from benchmarks.corpora.trial import Measured

ALLOWED_S, ALLOWED_MIB = 5.0, 300.0


@dataclass
class Outcome:
    """What has happened so far."""

    wrong: list[str] = field(default_factory=list)
    _taken: list[tuple[Sample, Measured]] = field(default_factory=list)

    def note(self, sample: Sample, measured: Measured) -> None:
        """Take one answer."""
        self._taken.append((sample, measured))
        if measured.wrong:
            self.wrong.append(f"{sample}: {measured.wrong}")
        if measured.seconds > ALLOWED_S or measured.mib > ALLOWED_MIB:
            self.wrong.append(f"{sample}: {measured.seconds:.1f} s, {measured.mib:.0f} MiB")

    def figures(self) -> dict[str, Any]:
        """Sum up."""
        codes: dict[str, Counter[str]] = defaultdict(Counter)
        for sample, measured in self._taken:
            codes[sample.encoding][measured.code] += 1
        return {
            "files": dict(Counter(s.corpus for s, _ in self._taken if s.encoding == AS_IT_IS)),
            "requests": len(self._taken),
            "codes": {encoding: dict(found.most_common()) for encoding, found in codes.items()},
            "converted": [
                str(sample) for sample, measured in self._taken if measured.code == "200"
            ],
            "seconds": self._spread({s: m.seconds for s, m in self._taken}),
            "mib_above_idle": self._spread({s: m.mib for s, m in self._taken}),
        }

    @staticmethod
    def _spread(values: dict[Sample, float]) -> dict[str, Any]:
        if not values:
            return {}
        worst = max(values, key=values.__getitem__)
        return {
            "median": round(statistics.median(values.values()), 3),
            "worst": round(values[worst], 3),
            "of": str(worst),
        }
