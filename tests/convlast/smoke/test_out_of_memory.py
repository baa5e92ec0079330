import pytest
import torch

from convlast.smoke.out_of_memory import ATTEMPTS, is_out_of_memory, release, shrinking


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
    ids=repr,
)
def test_memory_that_ran_out_is_recognised(error: Exception) -> None:
    """Errors of memory are recognised by type, or by PyTorch's message if they have none."""
    assert is_out_of_memory(error)


@pytest.mark.parametrize("shape", [(1 << 46,), (1 << 40, 1 << 40)])
def test_the_allocator_of_the_cpu_says_what_is_expected_of_it(shape: tuple[int, ...]) -> None:
    """The installed PyTorch uses the expected message."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(shape)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("expected 8 channels"), ValueError("can't allocate memory")], ids=repr
)
def test_another_error_is_not_taken_for_it(error: Exception) -> None:
    """An error of another type, or with another message, is not one of memory."""
    assert not is_out_of_memory(error)


def test_a_cpu_has_nothing_to_give_back() -> None:
    """Releasing memory on a CPU does nothing."""
    release(torch.device("cpu"))


def test_a_run_is_tried_on_smaller_inputs() -> None:
    """The input is halved until it fits."""

    def run(halvings: int) -> str:
        if halvings < 2:
            raise MemoryError
        return "ran"

    assert shrinking(run, torch.device("cpu")) == ("ran", 2)


@pytest.mark.parametrize(
    ("error", "tries"), [(MemoryError(), ATTEMPTS), (RuntimeError("expected 8 channels"), 1)]
)
def test_what_no_smaller_input_helps_is_raised(error: Exception, tries: int) -> None:
    """If memory never suffices, the error is raised after the smallest input; others at once."""
    tried: list[int] = []

    def run(halvings: int) -> None:
        tried.append(halvings)
        raise error

    with pytest.raises(type(error)):
        shrinking(run, torch.device("cpu"))
    assert len(tried) == tries
