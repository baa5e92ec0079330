"""What will be done to each weight is decided before a byte is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.errors import NoConv3dWeightsError
from convlast.planning.plan import Plan, make_plan
from convlast.planning.selection import Selection
from tests import builders
from tests.builders import SHAPE, numbered


def plan_of(root: object, *select: str) -> Plan:
    """Plan a conversion of objects in memory."""
    selection = Selection(select) if select else None
    return make_plan(Checkpoint(Path(), "torch", root), "channels_last_3d", selection)


def statuses(plan: Plan) -> dict[str, tuple[str, str | None]]:
    """Return what happens to each layer, and why."""
    return {decision.name: (decision.status, decision.reason) for decision in plan.decisions}


def test_neighbours_are_converted_side_by_side() -> None:
    """Two weights on one storage that share no byte do not stand in each other's way."""
    plan = plan_of(builders.neighbours())
    assert statuses(plan) == {"a.weight": ("converted", None), "b.weight": ("converted", None)}


def test_aliases_are_converted_once() -> None:
    """The second name says whose alias it is, and stands in no list of conversions."""
    plan = plan_of(builders.aliases())
    assert [decision.alias_of for decision in plan.decisions] == [None, "encoder.weight"]
    assert len(plan.conversions) == 1


def test_a_bare_storage_touches_all_that_is_on_it() -> None:
    """Whoever holds the storage itself may read its bytes in their order."""
    weight = numbered(*SHAPE)
    plan = plan_of({"c.weight": weight, "bytes": weight.untyped_storage()})
    assert statuses(plan) == {"c.weight": ("skipped", "shared-storage")}


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (numbered(8, 3, 3, 3, 3)[::2], "not-dense"),
        (numbered(1, 3, 1, 1, 1).expand(4, 3, 3, 3, 3), "not-dense"),
        (torch.empty(SHAPE, device="meta"), "no-data"),
        (builders.quantized(*SHAPE), "quantized"),
    ],
)
def test_what_cannot_be_converted_says_why(tensor: Tensor, reason: str) -> None:
    """It is skipped with its reason, and the strides stay."""
    plan = plan_of({"c.weight": tensor})
    assert statuses(plan) == {"c.weight": ("skipped", reason)}
    assert plan.decisions[0].stride_after == tensor.stride()


def test_select_is_matched_against_whole_keys() -> None:
    """Patterns are fnmatch's; what they leave out is kept as it is."""
    model = builders.a_model().state_dict()
    plan = plan_of(model, "2.*", "[34].weight")
    assert {name: status for name, (status, _) in statuses(plan).items()} == {
        "0.weight": "kept",
        "2.weight": "converted",
        "3.weight": "converted",
        "4.weight": "converted",
    }


def test_an_alias_of_what_is_selected_comes_along() -> None:
    """They are one and the same bytes."""
    plan = plan_of(builders.aliases(), "encoder.*")
    assert {status for status, _ in statuses(plan).values()} == {"converted"}


def test_names_tell_state_dicts_apart() -> None:
    """With one state dict a layer is called by its key, with several by its whole path."""
    one = {"wrapped": builders.one_convolution()}
    assert [decision.name for decision in plan_of(one).decisions] == ["conv.weight"]
    assert [decision.name for decision in plan_of([one, one["wrapped"]]).decisions] == [
        "0.wrapped.conv.weight",
        "1.conv.weight",
    ]


def test_names_are_never_the_same() -> None:
    """Where two paths are written alike, the second gets a number."""
    root = {"a.b": {"weight": numbered(*SHAPE)}, "a": {"b": {"weight": numbered(*SHAPE)}}}
    names = [decision.name for decision in plan_of(root).decisions]
    assert names == ["a.b.weight", "a.b.weight#2"]


def test_the_wrapper_is_the_one_with_most_weights() -> None:
    """A critic beside the model does not take its place."""
    small, large = builders.one_convolution(), builders.a_model().state_dict()
    assert plan_of({"critic": small, "nets": [large]}).wrapper == "nets.0"
    assert plan_of(large).wrapper is None


def test_no_weights_is_an_error_that_counts() -> None:
    """It says how many tensors, and how many of five dimensions, were looked at."""
    with pytest.raises(NoConv3dWeightsError, match="2 tensors, 1 of them 5-D"):
        plan_of({"pos": torch.ones(1, 1, 1, 1, 1), "fc.weight": torch.ones(2, 2)})


def test_a_weight_under_an_optimizers_name_is_named_where_there_is_no_other() -> None:
    """It may be meant, so the message says why it was left alone."""
    with pytest.raises(NoConv3dWeightsError) as refusal:
        plan_of({"no_optimizer": builders.one_convolution()})
    assert "no_optimizer." in refusal.value.remedy
    assert "has an optimizer's name" in refusal.value.remedy


def test_an_undo_prefers_what_the_manifest_says() -> None:
    """Without one the weights become contiguous."""
    weight = numbered(*SHAPE).to(memory_format=torch.channels_last_3d)
    first = (1, 4, 12, 36, 108)
    layer = LayerLayout(
        name="c.weight", key="c.weight", shape=SHAPE, stride_before=first, stride_after=(1,)
    )
    noted = Manifest(memory_format="channels_last_3d", layers=(layer,))
    for manifest, expected in ((noted, first), (None, (81, 27, 9, 3, 1))):
        checkpoint = Checkpoint(Path(), "torch", {"c.weight": weight}, manifest=manifest)
        plan = make_plan(checkpoint, "contiguous_format")
        assert plan.decisions[0].stride_after == expected
