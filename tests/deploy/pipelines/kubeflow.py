"""The SDK of Kubeflow Pipelines, in an environment of its own: it wants another protobuf."""

from __future__ import annotations

from pathlib import Path

PYTHON = Path(__file__).parents[3] / ".venv" / "kubeflow" / "bin" / "python"

COMPILE = """
import json, sys, tempfile, yaml
from kfp import compiler, components, dsl

convert = components.load_component_from_file(sys.argv[1])

@dsl.pipeline(name="all")
def all_of_it():
    model = dsl.importer(artifact_uri="s3://models/vae.pt", artifact_class=dsl.Model)
    step = convert(checkpoint=model.output, fail_on="warning")
    step.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
    with dsl.If(step.outputs["decision"] == "convert"):
        convert(checkpoint=step.outputs["model"])

with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
    compiler.Compiler().compile(all_of_it, file.name)
    print(json.dumps(yaml.safe_load(file.read())))
"""


def is_present() -> bool:
    """Return whether `make kubeflow` has installed it."""
    return PYTHON.is_file()
