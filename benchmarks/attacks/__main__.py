"""Each attack again and again for half a minute: whether the probes still are answered.

    python -m benchmarks.attacks --seconds 30
    python -m benchmarks.attacks range half-open --seconds 10

Attackers, the probe and the service are processes of their own, on one machine. Beside each attack
`/livez` is asked thirty times a second, each time over a new connection. It must answer every time,
within 100 ms at the 99th percentile; and when the attack is over, the service must be ready again,
and its work folder empty. Prints one JSON object; exits with 1 if not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.attacks import outside, probing, uploads
from benchmarks.machine import describe
from tests.service.running import REAL, Running, start, wait_for

LIVEZ_P99_S = 0.1
CALM_S = 60.0
KEY = "a key of eight and more characters"
TRUSTING = "tests.service.trusting_service"
ATTACKS = (*outside.ATTACKS, *uploads.ATTACKS, *uploads.TAKEN_OVER)


def main() -> None:
    """Run the attacks that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(("none", *ATTACKS)))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--role", choices=["attack", "probe"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "attack":
        print(json.dumps(attack(arguments.names[0], arguments.port, arguments.seconds)))
    elif arguments.role == "probe":
        print(json.dumps(probing.latencies(arguments.port, arguments.seconds)))
    else:
        result = measure(arguments.names or ["none", *ATTACKS], arguments.seconds)
        print(json.dumps(result, indent=2))
        sys.exit(0 if result["passed"] else 1)


def attack(name: str, port: int, seconds: float) -> Counter[str]:
    """Be the attacker, and tell what came back."""
    if name in outside.ATTACKS:
        return outside.repeat(name, port, seconds)
    return uploads.repeat(name, port, KEY, seconds)


def measure(names: list[str], seconds: float) -> dict[str, object]:
    """Try one attack after the other, each on a service of its own."""
    rows = {name: _measure_one(name, seconds) for name in names}
    return {
        "benchmark": "attacks",
        "seconds": seconds,
        "attacks": rows,
        "passed": all(row["passed"] for row in rows.values()),
        "machine": describe(),
    }


def _measure_one(name: str, seconds: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        service = _start(Path(folder), TRUSTING if name in uploads.TAKEN_OVER else REAL)
        try:
            service.wait_until_ready()
            attacker = None if name == "none" else _spawn(name, "attack", service, seconds)
            latencies_s = json.loads(_spawn(name, "probe", service, seconds).communicate()[0])
            answers = {} if attacker is None else json.loads(attacker.communicate()[0])
            left = _left_behind(service)
        finally:
            service.stop()
    refused = latencies_s.count(None)
    answered_s = sorted(each for each in latencies_s if each is not None)
    p99_s = statistics.quantiles(answered_s, n=100)[98]
    return {
        "answers": answers,
        "livez": {
            "requests": len(latencies_s),
            "not_answered": refused,
            "median_s": round(statistics.median(answered_s), 4),
            "p99_s": round(p99_s, 4),
            "longest_s": round(answered_s[-1], 4),
        },
        "left_behind": left,
        "passed": not refused and p99_s < LIVEZ_P99_S and not left,
    }


def _start(folder: Path, module: str) -> Running:
    keys = folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"client:{KEY}\n")
    return start(folder, module, api_keys_file=keys, device="cpu")


def _spawn(name: str, role: str, service: Running, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.attacks", name, "--role", role]
    command += ["--port", str(service.port), "--seconds", str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _left_behind(service: Running) -> list[str]:
    """Wait until nothing is left of the attack; name what is."""
    try:
        wait_for(lambda: not service.files(), within_s=CALM_S)
        service.wait_until_ready()
    except AssertionError:
        return sorted(service.files()) or ["the service is not ready"]
    return []


if __name__ == "__main__":
    main()
