from __future__ import annotations

import os
import re
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.deploy.kubernetes.rendering import FOLDER, OVERLAYS, ROOT, render

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()


def test_an_overlay_of_ones_own_changes_what_it_names(tmp_path: Path) -> None:
    """The example of the page gives another namespace, image and upload size; the rest stays."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    here = os.path.relpath(ROOT, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(example.replace("../convlast/", f"{here}/"))
    rendered = render(tmp_path)
    image = rendered.container["image"]
    assert image == "registry.internal/convlast@sha256:" + "1" * 64
    assert rendered.environment["CONVLAST_MAX_UPLOAD_BYTES"] == "1Gi"
    assert rendered.environment["CONVLAST_DEVICE"] == "cuda"
    assert rendered.one("Namespace", "second")
    others = [each["metadata"] for each in rendered.manifests if each["kind"] != "Namespace"]
    assert {each["namespace"] for each in others} == {"second"}


def test_every_file_is_used() -> None:
    """A kustomization names each manifest and component, and is itself one of an overlay."""
    named = set()
    for each in FOLDER.rglob("kustomization.yaml"):
        said = yaml.safe_load(each.read_text())
        patches = [patch["path"] for patch in said.get("patches", [])]
        for name in [*said.get("resources", []), *said.get("components", []), *patches]:
            path = (each.parent / name).resolve()
            named.add(path / "kustomization.yaml" if path.is_dir() else path)
    entries = {FOLDER / "overlays" / name / "kustomization.yaml" for name in OVERLAYS}
    assert named | entries == set(FOLDER.rglob("*.yaml"))


def test_the_page_names_files_that_exist() -> None:
    """It names each overlay, and every path in it leads somewhere."""
    named = set(re.findall(r"\b(?:overlays|components|base)/[a-z./-]*[a-z]", PAGE))
    assert {f"overlays/{name}" for name in OVERLAYS} <= named
    assert all((FOLDER / each).exists() for each in named)
