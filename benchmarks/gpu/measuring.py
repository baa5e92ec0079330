"""One model on one device: contiguous, all converted, and what `select=fastest` chose.

Times are of fp16, in a setting at a time: in fp16 or under autocast, with cuDNN's own choice of
kernels or its choice by trial. Layers are chosen as a conversion chooses them, in fp16 without
trial, and the choice is timed again against the better of all and none, in every setting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from convlast.report.smoke import NOISE
from convlast.smoke.model.choosing import LIMIT_S, choose_on_accelerator
from convlast.smoke.model.clock import Race
from convlast.smoke.model.dispatch import Profile, Weights, profile
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.timing import Setting, pair_of, race_of, time_pair
from convlast.smoke.out_of_memory import release


@dataclass(frozen=True)
class Limits:
    """How long things may take.

    Attributes:
        race_s: Seconds for timing two things against each other.
        search_s: Seconds for the search of `select=fastest`.
    """

    race_s: float = 4.0
    search_s: float = LIMIT_S


@dataclass(frozen=True)
class Trio:
    """One model three times, by what of it is converted."""

    none: Specimen
    all: Specimen
    fastest: Specimen

    @classmethod
    def of(cls, make: partial[Specimen], dtype: torch.dtype, layers: Iterable[str]) -> Trio:
        """Make the three; of the last these layers are converted."""
        fastest = make()
        fastest.cast(dtype)
        fastest.lay_out(list(layers))
        return cls(*pair_of(make, dtype), fastest)


def measure(make: partial[Specimen], samples: int, limits: Limits) -> dict[str, Any]:
    """Measure one model in all settings.

    Args:
        make: Makes a specimen in fp32.
        samples: N of the input.
        limits: How long things may take.

    Returns:
        For JSON. `passed` is about the setting that the choice was made in.
    """
    choice = choose_on_accelerator(make, samples, limit_s=limits.search_s, race_s=limits.race_s)
    trio = Trio.of(make, torch.float16, choice.layers)
    settings = [
        compare(trio, Setting(samples, benchmark=benchmark), limits.race_s)
        for benchmark in (False, True)
    ]
    kernels = kernels_of(trio, Way(samples))
    convertible, device = len(trio.all.converted), trio.all.device
    del trio
    release(device)
    trio = Trio.of(make, torch.float32, choice.layers)
    settings += [
        compare(trio, Setting(samples, is_autocast=True, benchmark=benchmark), limits.race_s)
        for benchmark in (False, True)
    ]
    return {
        "passed": settings[0]["fastest_is_no_slower"],
        "convertible": convertible,
        "choice": choice.model_dump(),
        "settings": settings,
        "kernels": kernels,
    }


def compare(trio: Trio, setting: Setting, race_s: float) -> dict[str, Any]:
    """Time all and fastest against none, and fastest against the better of all and none."""
    of_all = time_pair((trio.none, trio.all), setting, race_s)
    of_fastest = time_pair((trio.none, trio.fastest), setting, race_s)
    better = "all" if of_all.speedup > 1 else "none"
    again = race_of((getattr(trio, better), trio.fastest), setting, race_s)
    return {
        "autocast": setting.is_autocast,
        "cudnn_benchmark": setting.benchmark,
        "all": of_all.model_dump(),
        "fastest": of_fastest.model_dump(),
        "better": better,
        "fastest_against_better": {
            "speedup": again.speedup,
            "spread": again.spread,
            "stable": again.is_stable,
            "rounds": len(again.first_s),
        },
        "fastest_is_no_slower": is_no_slower(again),
    }


def is_no_slower(again: Race) -> bool:
    """Say whether the second is as fast as the first, to the noise; unstable is no proof."""
    return again.is_stable and again.speedup >= 1 - max(NOISE, again.spread)


def kernels_of(trio: Trio, way: Way) -> list[dict[str, Any]]:
    """Return the kernels that a forward ran with either weights."""
    return [
        _seen(profile(trio.none, way, "contiguous"), "contiguous"),
        _seen(profile(trio.all, way, "converted"), "converted"),
    ]


def _seen(found: Profile, weights: Weights) -> dict[str, Any]:
    longest = sorted(found.dispatches, key=lambda dispatch: dispatch.seconds, reverse=True)
    return {
        "weights": weights,
        "reason": found.reason,
        "routes": dict(Counter(dispatch.route for dispatch in longest)),
        "convolutions_s": sum(dispatch.seconds for dispatch in longest),
        "kernels": list(dict.fromkeys(name for each in longest for name in each.kernels)),
        "permuting": found.permuting and found.permuting.model_dump(exclude={"weights"}),
    }
