"""Each overlay, rendered once."""

from __future__ import annotations

from functools import cache

import pytest

from tests.deploy.kubernetes.rendering import FOLDER, OVERLAYS, Rendered, render


@cache
def _of(overlay: str) -> Rendered:
    return render(FOLDER / "overlays" / overlay)


@pytest.fixture(params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """Return what each overlay gives to the cluster."""
    return _of(request.param)


@pytest.fixture
def cpu() -> Rendered:
    """Return the overlay without a GPU."""
    return _of("cpu")


@pytest.fixture
def gpu() -> Rendered:
    """Return the overlay with a GPU."""
    return _of("gpu")


@pytest.fixture
def production() -> Rendered:
    """Return the overlay with a GPU, a volume and monitoring."""
    return _of("production")
