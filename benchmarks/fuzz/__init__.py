"""Coverage-guided fuzzing of the guard and of each reader, with atheris.

One law for every target: nothing but a `ConvlastError` comes out, within 5 seconds and 300 MiB; and
what is accepted, `torch.load(weights_only=True)` accepts too, and finds the same in the artifact.
The narrower targets compare the guard with torch and `zipfile`: a name, or a byte, that they see
and the guard does not, is a finding. Run with

    pip install atheris
    python -m benchmarks.fuzz FOLDER --seconds 300

Inputs that grow, for which time and memory must grow no faster, are tried by `growth.py`, which
needs neither.

FOLDER keeps each target's corpus, so that the next run goes on from it, and the findings: the
input, and beside it the traceback. Prints one JSON object; exits with 1 if there was a finding.
"""
