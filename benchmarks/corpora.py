"""Files that others wrote to try scanners and loaders, sent to a real service.

Each file goes through `POST /convert` as it is and re-encoded: a pickle also as the object of a torch
zip and of a torch legacy file, in its own opcodes and in those of protocol 2, so that the
allow-list is tried and not only the protocol; the members of a zip also beside those of a sound
checkpoint. Each must be answered by a documented problem, or by a right artifact, within 5 s
and 300 MiB of anonymous memory above the idle worker. Then all is sent again while strace watches:
from the moment a worker opens its upload it may start no program and open no socket, and write
nowhere but in the job's folder. Run with

    python -m benchmarks.corpora picklescan/tests modelaudit/tests/assets ...

Each FOLDER is one corpus: a checkout of it, or what its generators made; README.md and SECURITY.md
name the ones that were tried. Nothing of them is executed or unpickled here. Prints one JSON
object; exits with 1 if anything was wrong. Without strace, or with --no-audit, the second half is
left out, and the result says so.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import convlast
from benchmarks.faults import is_worker
from benchmarks.protocol_two import in_protocol_two, is_pickle
from convlast.devices import environment_of
from service.problems import TABLE
from tests.exactness import restrided
from tests.hostile import breaks_the_safetensors_header, breaks_the_zip, expands_without_bytes, parts
from tests.service.running import REAL, Running, start, wait_for

ALLOWED_S, ALLOWED_MIB = 5.0, 300.0
QUICK_S, QUICK_MIB = 1.0, 100.0
MAX_FILE_BYTES = 64 << 20

_PICKLE_NAMES = re.compile(r"\.(pkl|pickle|dill|joblib|bin|pt|pth|ckpt|dat)$")
_SOURCE_NAMES = re.compile(r"\.(py|md|rs|toml|txt|ya?ml|lock|cfg)$")
