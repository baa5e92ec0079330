"""Architectures: from a name, a config or the file itself to a model that can be run.

resolving · packages    resolving a name to a class or function of an allowed module
keywords · configs      the options, and the files that describe the model
building                building the model without values
matching · renaming     matching the checkpoint's keys with the model's
state_dicts             loading the checkpoint's values into the model
sizes · search · calls  finding an input that the model runs on
fresh · time_limit      each try gets a fresh copy of the model, and all together a time
runnable_files          files that contain their model
case                    the checkpoint, and what was asked for
subject · subjects      the runnable model, and how it is found
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
