"""Whether memory grows with the number of files in a model folder.

Each conversion runs in a process of its own, which reads the peak of its anonymous memory from the
kernel while it works. The baseline is the peak of the same conversion for a checkpoint of one tiny
weight: all that the conversion loads and starts, and no weights. Prints one JSON object, and fails
if a folder takes more above that than the convolution weights of its largest file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks import machine
from benchmarks.memory import make_checkpoint


def main() -> None:
    """Measure each kind of folder, and fail if one takes more than it may."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--megabytes", type=int, default=256, help="of each file")
    parser.add_argument("--smoke", default="none", help="as the option; it takes memory of its own")
    parser.add_argument("--work", type=Path, help="a folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        found = measure(Path(work), arguments.files, arguments.megabytes, arguments.smoke)
    print(json.dumps({"benchmark": "folders", **machine.describe(), **found}, indent=2))
    if any(not result["passed"] for result in found["results"].values()):
        sys.exit(1)


def measure(work: Path, files: int, megabytes: int, smoke: str) -> dict[str, Any]:
    """Convert the largest file alone, and then each kind of folder of so many files."""
    torch.save({"a.weight": torch.ones(8, 8, 3, 3, 3)}, work / "tiny.pt")
    baseline_mib = peak_mib(work / "tiny.pt", smoke)
    weights_mib = make_checkpoint(work / "model.pt", megabytes)
    folder = work / "folder"
    folder.mkdir()
    for index in range(files):
        shutil.copyfile(work / "model.pt", folder / f"{index}.pt")
    (folder / "config.json").write_text("{}")
    builders: dict[str, Callable[[], Path]] = {
        "its largest file alone": lambda: work / "model.pt",
        "a folder": lambda: folder,
        "a zip": lambda: pack_zip(folder),
        "a tar": lambda: pack(folder, "w"),
        "a tar.gz": lambda: pack(folder, "w:gz"),
        "shards of safetensors": lambda: shard(work / "shards", files, work / "model.pt"),
    }
    results = {}
    for name, build in builders.items():
        mib = peak_mib(build(), smoke) - baseline_mib
        results[name] = {
            "peak_above_baseline_mib": round(mib, 1),
            "of_the_largest_files_weights": round(mib / weights_mib, 3),
            "passed": mib <= weights_mib,
        }
    return {
        "files": files,
        "megabytes_of_each": megabytes,
        "smoke": smoke,
        "baseline_mib": round(baseline_mib, 1),
        "convolution_weights_of_the_largest_file_mib": weights_mib,
        "convolution_weights_of_all_mib": weights_mib * files,
        "results": results,
    }


def pack(folder: Path, mode: str) -> Path:
    """Pack a folder into a tar, quickly."""
    path = folder.with_suffix(".tar.gz" if mode.endswith("gz") else ".tar")
    how = {"compresslevel": 1} if mode.endswith("gz") else {}
    with tarfile.open(path, mode, **how) as archive:  # type: ignore[call-overload]  # any mode
        archive.add(folder, ".")
    return path


def pack_zip(folder: Path) -> Path:
    """Pack a folder into a zip, compressed, quickly."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def shard(folder: Path, files: int, source: Path) -> Path:
    """Write so many shards, each as large as a file, and their index."""
    folder.mkdir()
    tensors = torch.load(source, weights_only=True, mmap=True)
    places: dict[str, str] = {}
    for index in range(files):
        name = f"model-{index + 1:05}-of-{files:05}.safetensors"
        save_file({f"{index}.{key}": value for key, value in tensors.items()}, folder / name)
        places |= {f"{index}.{key}": name for key in tensors}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def peak_mib(source: Path, smoke: str) -> float:
    """Convert in a fresh process; return the peak of its anonymous memory."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        target = Path(folder, "converted")
        command = [sys.executable, "-c", _PROGRAM, str(source), str(target), smoke]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


_PROGRAM = """
import sys
from benchmarks.memory import Peak
import convlast, convlast.conversion
from convlast.options import Options
peak = Peak()
with peak:
    convlast.convert(*sys.argv[1:3], Options(smoke=sys.argv[3]), device="cpu")
print(peak.mib)
"""

if __name__ == "__main__":
    main()
