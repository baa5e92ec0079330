"""Which tensors of a model the keys of a state dict stand for.

The two may differ by the parts that wrappers insert (`names`), and by one prefix: the file may
have a larger model, such as a LightningModule with the network in it, or the model may be larger.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from convlast.loading.names import FORMS, Form, splits

Shape: TypeAlias = tuple[int, ...] | None
"""The shape of a tensor; None if it has none yet, or is no tensor, and fits every other one."""


@dataclass(frozen=True)
class Model:
    """The tensors of a model.

    Attributes:
        shapes: The shape of each, by its name.
        ids: A number for each name, the same for all names of one tensor.
        needed: The numbers of the tensors that a complete checkpoint has.
    """

    shapes: Mapping[str, Shape]
    ids: Mapping[str, int]
    needed: frozenset[int]


@dataclass(frozen=True)
class StateDict:
    """The tensors of one state dict in a file.

    Attributes:
        path: Its place in the file, with dots; empty if the file is the state dict.
        shapes: The shape of each tensor, by its key.
        file: The file, if there are several.
    """

    path: str
    shapes: Mapping[str, Shape]
    file: str = ""


@dataclass(frozen=True)
class Fit:
    """One way to give the keys of a state dict the names of a model.

    Attributes:
        state_dict: The state dict.
        form: The form in which keys and names are compared.
        taken: The prefix of the keys that the model does not have; other keys are left out.
        added: The prefix of the names that the keys do not have.
        names: The model's name for each key that it has, whatever the shape.
        covered: The numbers of the model's tensors for which there is a key, with the same shape.
        fitting: The number of these keys.
        scope: The number of keys that begin with `taken`.
    """

    state_dict: StateDict
    form: Form
    taken: str
    added: str
    names: Mapping[str, str]
    covered: frozenset[int]
    fitting: int
    scope: int

    @property
    def path(self) -> str:
        """The place of the tensors in the file: the state dict's path, and the prefix taken."""
        return ".".join(filter(None, (self.state_dict.path, self.taken.removesuffix("."))))

    @property
    def is_exact(self) -> bool:
        """Whether every key that begins with the prefix fits."""
        return self.fitting == self.scope > 0

    @property
    def is_whole(self) -> bool:
        """Whether every key of the state dict fits."""
        return self.fitting == len(self.state_dict.shapes) > 0

    @property
    def is_literal(self) -> bool:
        """Whether no prefix differs."""
        return not self.taken and not self.added

    def covers(self, model: Model) -> bool:
        """Return whether the model gets all the tensors that it needs."""
        return bool(model.needed) and model.needed <= self.covered

    def keys(self) -> dict[str, str]:
        """Return the keys that begin with `taken`, each with the name that it would have."""
        formed = {key: self.form(key) for key in self.state_dict.shapes}
        return {
            key: self.names.get(key, self.added + own.removeprefix(self.taken))
            for key, own in formed.items()
            if own.startswith(self.taken)
        }


@dataclass
class _Tally:
    names: dict[str, str] = field(default_factory=dict)
    covered: set[int] = field(default_factory=set)
    fitting: int = 0

    def add(self, key: str, name: str, shape: Shape, model: Model) -> None:
        """Note that a key stands for a name."""
        self.names[key] = name
        if fits(shape, model.shapes[name]):
            self.covered.add(model.ids[name])
            self.fitting += 1


def fits_of(state_dict: StateDict, model: Model) -> list[Fit]:
    """Return the ways to match a state dict with a model, by the most literal form that serves.

    It serves if the model gets all that it needs, or all keys fit. If no form serves, the ways by
    all of them are returned.
    """
    found: list[Fit] = []
    for form in FORMS:
        fits = list(_fits_by(form, state_dict, model))
        serving = [fit for fit in fits if fit.covers(model) or fit.is_whole]
        if serving:
            return [fit for fit in serving if fit.is_literal] or serving
        found += fits
    return found


def fits(one: Shape, other: Shape) -> bool:
    """Return whether a tensor of one shape can take the place of one of the other."""
    return one is None or other is None or one == other or {one, other} == {(), (1,)}


def _fits_by(form: Form, state_dict: StateDict, model: Model) -> Iterator[Fit]:
    """Yield the ways in one form; none if it gives several keys, or tensors, the same name.

    A prefix counts if a key or a name fits without it. This takes time in proportion to the keys,
    whatever these are.
    """
    shapes = state_dict.shapes
    keys = {form(key): key for key in shapes}
    names = {form(name): name for name in model.shapes}
    if len(keys) < len(shapes) or _merges(names, form, model):
        return
    found = _tallies(keys, names, shapes, model)
    scopes = Counter(taken for own in keys for taken, _ in splits(own) if (taken, "") in found)
    for (taken, added), tally in found.items():
        if tally.fitting or not (taken or added):
            yield Fit(
                state_dict,
                form,
                taken,
                added,
                tally.names,
                frozenset(tally.covered),
                tally.fitting,
                scopes[taken],
            )


def _tallies(
    keys: Mapping[str, str], names: Mapping[str, str], shapes: Mapping[str, Shape], model: Model
) -> dict[tuple[str, str], _Tally]:
    """Return the keys that stand for names, by the prefix that is taken and the one that is added.

    Args:
        keys: The keys by their form.
        names: The model's names by their form.
        shapes: The shapes by the keys.
        model: The model.
    """
    found: defaultdict[tuple[str, str], _Tally] = defaultdict(_Tally, {("", ""): _Tally()})
    for own, key in keys.items():
        for taken, rest in splits(own):
            if rest in names:
                found[taken, ""].add(key, names[rest], shapes[key], model)
    for own, name in names.items():
        for added, rest in splits(own):
            if added and rest in keys:
                found["", added].add(keys[rest], name, shapes[keys[rest]], model)
    return found


def _merges(names: Mapping[str, str], form: Form, model: Model) -> bool:
    """Return whether a form gives two tensors of the model the same name."""
    return any(number != model.ids[names[form(name)]] for name, number in model.ids.items())
