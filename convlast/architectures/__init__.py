"""Architectures: from a name, a config or the file itself to a model that can be run.

names · packages      a name to a class or function, from an allow-list
keywords · configs    the options, and the files that say what the model is
building · matching   the model, and the checkpoint's keys in it
values                the checkpoint's values in the model
sizes · calls         an input that it runs on
programs              files that hold their model themselves
subject               what all of this makes
"""

from __future__ import annotations

from convlast.architectures.case import Case
from convlast.architectures.configs import Spec, SpecsBeside, discover
from convlast.architectures.resolving import PREFIXES
from convlast.architectures.subject import Inputs, Subject
from convlast.architectures.subjects import find_subject

__all__ = [
    "PREFIXES",
    "Case",
    "Inputs",
    "Spec",
    "SpecsBeside",
    "Subject",
    "discover",
    "find_subject",
]
