"""A container engine for tests: the one that answers, or a Docker daemon started here by hand.

`python -m tests.container.engine` tells whether there is one, or can be: CI asks so. What such a
daemon needs is put there by `scripts/engine.sh`. It touches no firewall, so containers reach
nobody outside, and published ports go through Docker's own proxy; builds use the host's network.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "engine"
BASE_TAR = FOLDER / "base.tar"
STAND_IN = "convlast-stand-in-base:latest"
"""The image that builds start from where there is no registry: a bare Debian."""

HOOK = "nvidia-container-runtime-hook"
"""What Docker looks for at its start; where it finds it, it takes requests for NVIDIA's GPUs."""

_START_S, _STOP_S = 60.0, 30.0
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_BRIDGE = Path("/sys/class/net/docker0")


class EngineError(Exception):
    """There is no engine here; the message says why."""


@dataclass
class Engine:
    """Where commands go.

    Attributes:
        environment: What the commands are run with.
        is_own: Whether the daemon was started here, and so can be started anew.
    """

    environment: Mapping[str, str]
    is_own: bool = False
    _daemon: subprocess.Popen[bytes] | None = None
    _lock: TextIO | None = None
    _run: Path = field(default_factory=Path)
    _ip_forward: str = ""
    _had_bridge: bool = True

    @classmethod
    def find(cls) -> Engine:
        """Take the engine that answers; start one where there is none.

        Raises:
            EngineError: If that cannot be done.
        """
        engine = cls(dict(os.environ))
        if is_answering(engine.environment):
            return engine
        if reason := cannot_start():
            raise EngineError(reason)
        lock = (FOLDER / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise EngineError("another run of these tests has its engine here") from None
        run = Path(tempfile.mkdtemp(prefix="convlast-engine-"))
        engine = cls(
            {
                **os.environ,
                "DOCKER_HOST": f"unix://{run}/docker.sock",
                "DOCKER_CONFIG": str(FOLDER / "config"),
                "BASE_IMAGE": STAND_IN,
            },
            is_own=True,
            _lock=lock,
            _run=run,
            _ip_forward=_IP_FORWARD.read_text(),
            _had_bridge=_BRIDGE.exists(),
        )
        try:
            engine.start()
            if not engine.docker("images", "--quiet", STAND_IN):
                engine.docker("import", "--change", 'CMD ["bash"]', str(BASE_TAR), STAND_IN)
        except BaseException:
            engine.close()
            raise
        return engine

    def start(self, *, path: str = "") -> None:
        """Start the daemon.

        Args:
            path: Folders that it looks into first for programs.

        Raises:
            EngineError: If it does not answer.
        """
        log = FOLDER / "dockerd.log"
        with log.open("wb") as output:
            self._daemon = subprocess.Popen(
                [
                    *("dockerd", "--host", self.environment["DOCKER_HOST"]),
                    *("--data-root", str(FOLDER / "data"), "--exec-root", str(self._run / "exec")),
                    *("--pidfile", str(self._run / "pid"), "--bip", "10.123.0.1/24"),
                    *("--iptables=false", "--ip6tables=false"),
                    *("--ip-forward=false", "--ip-masq=false"),
                ],
                env={**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_S
        while not is_answering(self.environment):
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace").splitlines()[-1:]
                raise EngineError(f"dockerd does not start: {' '.join(last)}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the daemon, and with it the containers that it runs."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(_STOP_S)
            self._daemon = None

    def close(self) -> None:
        """End what was started here, and leave the machine's network as it was."""
        if not self.is_own:
            return
        self.stop()
        # The daemon leaves the mount of its own network namespace behind.
        subprocess.run(
            ["umount", str(self._run / "exec/netns/default")], check=False, capture_output=True
        )
        shutil.rmtree(self._run, ignore_errors=True)
        if not self._had_bridge and _BRIDGE.exists():
            subprocess.run(["ip", "link", "delete", "docker0"], check=True)
        if _IP_FORWARD.read_text() != self._ip_forward:
            _IP_FORWARD.write_text(self._ip_forward)
        if self._lock is not None:
            self._lock.close()

    def docker(self, *arguments: str, check: bool = True, **more: str) -> str:
        """Run a command of Docker; give what it prints.

        Args:
            arguments: The command.
            check: Whether it has to succeed; else errors are part of what is given.
            more: Variables that compose files read.
        """
        done = subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if check else subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def is_answering(environment: Mapping[str, str]) -> bool:
    """Tell whether an engine, compose and buildx do what they are asked."""
    commands = (["info"], ["compose", "version"], ["buildx", "version"])
    if shutil.which("docker") is None:
        return False
    return all(
        subprocess.run(
            ["docker", *command], env=environment, capture_output=True, check=False
        ).returncode
        == 0
        for command in commands
    )


def cannot_start() -> str | None:
    """Say why no daemon can be started here; nothing if it can be tried."""
    if os.geteuid() != 0:
        return "a container engine can be started only by root"
    if missing := [name for name in ("docker", "dockerd", "ip") if shutil.which(name) is None]:
        return f"{', '.join(missing)} not installed: scripts/engine.sh does"
    if not BASE_TAR.exists():
        return "no stand-in for the base image: scripts/engine.sh makes it"
    return None


def is_present() -> bool:
    """Tell whether there is an engine, or can be, without starting one."""
    return cannot_start() is None or is_answering(os.environ)


def main() -> int:
    """Look for an engine; give 0 if there is one."""
    try:
        engine = Engine.find()
    except EngineError as error:
        sys.stderr.write(f"engine: {error}\n")
        return 1
    version = engine.docker("version", "--format", "Docker {{.Server.Version}}").strip()
    sys.stderr.write(f"engine: {version}, {'started here' if engine.is_own else 'as found'}\n")
    engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
