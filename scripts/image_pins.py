"""Write the pins of the image, with the hashes of their wheels, into `deploy/image/`.

`make pins` runs this with uv, which resolves for every Python and every machine at once, and asks
the index for the hashes. Versions come from `constraints.txt`; what that file does not name stays
as it is until its line is deleted. The files name no index: the build takes pip's own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "image"
OLDEST_PYTHON = "3.11"
CUDA = re.compile(r"(torch|triton|cuda-.+|nvidia-(?!ml-py).+)==")
"""What differs between builds of torch: torch itself, and what its build for CUDA needs."""

TOOLS = ("cyclonedx-bom", "hatchling")
_HEADER = "# Written by `make pins` from constraints.txt, with the hashes of all wheels.\n"


def main() -> int:
    """Write all files."""
    of_torch = resolve("-", asked="torch")
    of_all = resolve(str(ROOT / "pyproject.toml"), "--extra", "service", "--extra", "cli")
    with_ray = resolve(
        str(ROOT / "pyproject.toml"), "--extra", "service", "--extra", "cli", "--extra", "ray"
    )
    needs = [each for each in of_torch if not CUDA.match(each)]
    write("torch.txt", [each for each in of_torch if CUDA.match(each)])
    write("torch-needs.txt", needs)
    write("packages.txt", [each for each in of_all if each not in of_torch])
    write("ray.txt", [each for each in with_ray if each not in of_torch + of_all])
    write("tools.txt", resolve("-", asked="\n".join(TOOLS)))
    return 0


def resolve(*source: str, asked: str = "") -> list[str]:
    """Return each package of a set as the lines of a requirements file.

    Args:
        source: The file that names the set, and how; `-` for what is asked.
        asked: The set, one package on each line.
    """
    earlier = "".join(each.read_text() for each in sorted(FOLDER.glob("*.txt")))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "written.txt")
        written.write_text(earlier)  # uv prefers the versions that it finds there
        subprocess.run(  # noqa: S603  # uv, with what is written above
            [
                *(sys.executable, "-m", "uv", "pip", "compile", *source, "--quiet"),
                *("--output-file", str(written), "--constraint", str(ROOT / "constraints.txt")),
                *("--universal", "--python-version", OLDEST_PYTHON, "--only-binary", ":all:"),
                *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"),
            ],
            input=asked,
            text=True,
            check=True,
        )
        packages = re.split(r"\n(?=\S)", written.read_text().strip())
    return [each for each in packages if "sys_platform == 'win32'" not in each]


def write(name: str, packages: list[str]) -> None:
    """Write one file."""
    (FOLDER / name).write_text(_HEADER + "".join(f"{each}\n" for each in packages))


if __name__ == "__main__":
    sys.exit(main())
