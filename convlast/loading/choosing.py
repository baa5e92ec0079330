"""Which of the state dicts in a file is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from convlast.errors import ArchitectureMismatchError
from convlast.folders.member_names import shown
from convlast.loading.fitting import Fit, StateDict
from convlast.planning.optimizers import words_in
from convlast.report.listing import listed

MAX_LISTED = 5
"""The most names in an error."""

_AVERAGES = {"average", "averaged", "avg", "ema", "polyak", "shadow", "swa", "teacher"}
"""What trainers call a moving average of the weights."""


def is_average(path: str) -> bool:
    """Return whether a path names a moving average of weights.

    >>> is_average("ema_state_dict"), is_average("netEMA.0"), is_average("schema")
    (True, True, False)
    """
    return not _AVERAGES.isdisjoint(words_in(path))


def named(fits: Iterable[Fit], wrapper: str | None) -> list[Fit]:
    """Return the ways that take the tensors from the place that the caller names, if any.

    The name may lack its first parts. A prefix may be part of it, or not.
    """
    every = list(fits)
    if wrapper is None:
        return every
    exact = [fit for fit in every if wrapper in (fit.state_dict.path, fit.path)]
    return exact or [
        fit
        for fit in every
        if f".{fit.state_dict.path}".endswith(f".{wrapper}")
        or f".{fit.path}".endswith(f".{wrapper}")
    ]


def first_meant(fits: Sequence[Fit], are_alike: Callable[[Fit, Fit], bool]) -> Fit:
    """Return the first of several ways that serve equally well, if it is plainly meant.

    It is if all are alike, or if all but one are moving averages.

    Raises:
        ArchitectureMismatchError: If it is not plain.
    """
    first, *others = fits
    distinct = [first, *(fit for fit in others if not are_alike(first, fit))]
    places = list(dict.fromkeys(map(place_of, distinct)))
    plain = [place for place in places if not is_average(place)]
    if len(distinct) == 1 or (len(places) > 1 and len(plain) == 1):
        return first
    raise _ambiguous(distinct, places)


def no_such_place(
    subject: str, wrapper: str | None, there: Sequence[StateDict]
) -> ArchitectureMismatchError:
    """Return the error for a place that the caller names and that is not there."""
    places = list(dict.fromkeys(map(place_of, there)))
    if wrapper is None:
        return ArchitectureMismatchError(
            f"{subject} holds no state dict.", remedy="Give the file that has the weights."
        )
    return ArchitectureMismatchError(
        f"{subject} holds no state dict at wrapper={wrapper!r}.",
        remedy=f"It holds {listed(places, at_most=MAX_LISTED)}." if places else "",
    )


def place_of(fit: Fit | StateDict) -> str:
    """Write where tensors come from: the path, after the file if there are several."""
    file = fit.state_dict.file if isinstance(fit, Fit) else fit.file
    return ": ".join(filter(None, (file, shown(fit.path) if fit.path or not file else "")))


def _ambiguous(fits: Sequence[Fit], places: Sequence[str]) -> ArchitectureMismatchError:
    if len(places) == 1:
        parts = [repr(fit.added.removesuffix(".")) for fit in fits]
        return ArchitectureMismatchError(
            f"The checkpoint fits several parts of the model: {listed(parts, at_most=MAX_LISTED)}.",
            remedy="Pass the part that is meant in place of the model.",
        )
    files = {fit.state_dict.file for fit in fits}
    remedy = (
        "Pass the path of the one that is meant."
        if len(files) > 1
        else f"Say which one is meant, such as wrapper={fits[0].path!r}."
    )
    return ArchitectureMismatchError(
        f"{len(places)} state dicts fit the model equally well: "
        f"{listed(places, at_most=MAX_LISTED)}.",
        remedy=remedy,
    )
