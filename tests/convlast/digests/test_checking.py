"""What a check against a list finds."""

from __future__ import annotations

from convlast.digests.checking import check
from convlast.digests.listing import Digests, TensorDigest

ZERO, ONE = "0" * 64, "1" * 64


def tensor(
    name: str, digest: str = ZERO, dtype: str = "F32", file: str | None = None
) -> TensorDigest:
    """Return a tensor of one element."""
    return TensorDigest(digest=digest, dtype=dtype, shape=(1,), name=name, file=file)


def test_the_same_passes() -> None:
    """Each tensor is named as the same, whatever the order was."""
    found = check(Digests.of([tensor("a"), tensor("b")]), Digests.of([tensor("b"), tensor("a")]))
    assert (found.same, found.changed, found.missing, found.new) == (("a", "b"), (), (), ())
    assert found.passed


def test_each_difference_is_named() -> None:
    """Bytes, dtype, a tensor that went, and one that came."""
    listed = Digests.of([tensor("bytes"), tensor("dtype"), tensor("gone"), tensor("same")])
    there = Digests.of(
        [tensor("bytes", ONE), tensor("dtype", dtype="I32"), tensor("same"), tensor("came")]
    )
    found = check(listed, there)
    assert [each.label for each in found.changed] == ["bytes", "dtype"]
    assert found.changed[1].found == (tensor("dtype", dtype="I32"),)
    assert (found.missing, found.new, found.same) == (("gone",), ("came",), ("same",))
    assert not found.passed
    assert found.root == there.root


def test_a_name_of_two_tensors_is_the_same_if_both_are() -> None:
    """Two keys can give one name: {"a": {"b": …}, "a.b": …}. Neither may hide the other."""
    both = Digests.of([tensor("a.b"), tensor("a.b", ONE)])
    assert check(both, both).passed
    assert not check(both, Digests.of([tensor("a.b", ONE)])).passed
    assert not check(Digests.of([tensor("a.b")]), both).passed


def test_a_file_and_a_name_with_a_colon_are_not_confused() -> None:
    """The tensor `b` of the file `a` is not the tensor `a:b`."""
    found = check(Digests.of([tensor("a:b")]), Digests.of([tensor("b", file="a")]))
    assert (len(found.missing), len(found.new)) == (1, 1)


def test_a_file_that_is_not_opened_any_more_does_not_pass() -> None:
    """One that was not opened for the list either is named; its tensors were never listed."""
    here = Digests.of([tensor("a")], not_opened=["b.pt2"])
    found = check(Digests.of([tensor("a"), tensor("w", file="b.pt2")]), here)
    assert (found.not_opened, found.missing, found.passed) == (("b.pt2",), ("b.pt2:w",), False)
    found = check(Digests.of([tensor("a")]), here)
    assert (found.not_opened, found.passed) == (("b.pt2",), True)
