from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.devices.compatibility import has_code_for

WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
"""The architectures that PyTorch's wheels for CUDA 13.0 are built for."""

majors, minors = st.integers(3, 40), st.integers(0, 9)


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((9, 0), WHEEL, True),
        ((8, 9), WHEEL, True),
        ((7, 0), WHEEL, False),
        ((6, 1), WHEEL, False),
        ((12, 1), WHEEL, True),
        ((13, 0), WHEEL, False),
        ((13, 0), [*WHEEL, "compute_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((10, 3), ["sm_100f"], True),
        ((11, 0), ["compute_100f"], False),
        ((10, 0), ["compute_90a"], False),
        ((9, 0), ["compute_90a"], True),
        ((6, 1), [], True),
        ((9, 0), ["gfx942"], True),
        ((6, 1), ["sm_75", "sm_400z"], True),
    ],
)
def test_which_gpus_a_build_has_code_for(
    capability: tuple[int, int], architectures: list[str], runs: bool
) -> None:
    """GPUs run code by NVIDIA's rules, and code of an unknown name is assumed to run."""
    assert has_code_for(capability, architectures) is runs


@given(major=majors, minor=minors, later=minors, other=majors)
def test_machine_code_runs_on_its_major_version_from_its_own_minor_on(
    major: int, minor: int, later: int, other: int
) -> None:
    """Machine code runs on its own major version, from its minor version on."""
    found = has_code_for((other, later), [f"sm_{major}{minor}"])
    assert found is (other == major and later >= minor)


@given(capability=st.tuples(majors, minors), built_for=st.tuples(majors, minors))
def test_ptx_runs_on_all_that_is_not_older(
    capability: tuple[int, int], built_for: tuple[int, int]
) -> None:
    """PTX runs on all later GPUs, because the driver compiles it."""
    name = f"compute_{built_for[0]}{built_for[1]}"
    assert has_code_for(capability, [name]) is (capability >= built_for)
