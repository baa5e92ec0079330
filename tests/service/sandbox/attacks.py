"""What hostile code in a worker would try; one function for each attempt."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.sandbox import calls

_CLONE_NEWUSER, _PTRACE_ATTACH, _PR_SET_PDEATHSIG, _TIOCSTI = 0x10000000, 16, 1, 0x5412
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS, _FS_NOATIME = 0x80086601, 0x40086602, 0x80

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _libc_call(name: str, *arguments: Any) -> int:
    return _checked(getattr(_libc, name)(*arguments))


def _system_call(name: str, *arguments: Any) -> int:
    """Make a system call for which libc has no function."""
    column = {"x86_64": 1, "aarch64": 2}[platform.machine()]
    known = calls.numbers(" ".join([*calls.REFUSED.values(), "clone:56:220"]), column)
    return _checked(_libc.syscall(ctypes.c_long(known[name]), *arguments))


def open_tcp_socket() -> None:
    """Open a TCP socket."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def open_udp_socket() -> None:
    """Open a UDP socket."""
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)


def open_unix_socket() -> None:
    """Open a socket to a service of this machine, the fork server among them."""
    socket.socket(socket.AF_UNIX)


def open_netlink_socket() -> None:
    """Open a socket to the kernel."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


def open_socket_pair() -> None:
    """Open two connected sockets."""
    socket.socketpair()


def become_a_program() -> None:
    """Replace this process by a program."""
    os.execv(sys.executable, [sys.executable, "-c", ""])  # noqa: S606


def become_an_open_program() -> None:
    """Replace this process by a program that is given as an open file."""
    os.execve(os.open(sys.executable, os.O_RDONLY), ["python"], {})  # noqa: S606


def run_a_program() -> None:
    """Run a program with `subprocess`."""
    subprocess.run(["/bin/true"], check=True)


def run_a_shell() -> None:
    """Run a command with libc's `system`."""
    if os.system("true"):  # noqa: S605
        raise PermissionError("The command did not run.")


def spawn_a_program() -> None:
    """Run a program with `posix_spawn`."""
    os.posix_spawn("/bin/true", ["true"], {})


def fork() -> None:
    """Make a process with `fork`."""
    if os.fork() == 0:
        os._exit(0)


def clone() -> None:
    """Make a process with the system call `clone`."""
    if _system_call("clone", ctypes.c_long(signal.SIGCHLD), 0, 0, 0, 0) == 0:
        os._exit(0)


def signal_everyone() -> None:
    """Send a signal to every process that can be reached."""
    os.kill(-1, signal.SIGUSR1)


def outlive_the_fork_server() -> None:
    """Prevent being killed when the fork server ends."""
    _libc_call("prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)


def become_root_of_a_namespace() -> None:
    """Enter a new namespace, in which everything is allowed."""
    _libc_call("unshare", _CLONE_NEWUSER)


def leave_a_key() -> None:
    """Store a key in the kernel for the next worker."""
    _system_call("add_key", b"user", b"left", b"behind", 6, -5)


def leave_memory() -> None:
    """Allocate shared memory that outlives the process."""
    _libc_call("shmget", 0x1234, 4096, 0o1600)


def hide_memory() -> None:
    """Allocate memory that is not counted as the process's."""
    os.memfd_create("hidden")


def load_a_kernel_program() -> None:
    """Load a program into the kernel."""
    _system_call("bpf", 0, 0, 0)


def open_a_ring() -> None:
    """Open an io_uring, whose calls bypass the filter."""
    _system_call("io_uring_setup", 1, ctypes.create_string_buffer(120))


def type_into_the_terminal() -> None:
    """Type a command into the terminal from which the service was started."""
    fcntl.ioctl(1, _TIOCSTI, b"x")


def trace(pid: int) -> None:
    """Attach to a process as a debugger."""
    _libc_call("ptrace", _PTRACE_ATTACH, pid, 0, 0)


def read_memory(pid: int) -> None:
    """Read the memory of a process."""
    _system_call("process_vm_readv", pid, None, 0, None, 0, 0)


def send_a_signal(pid: int) -> None:
    """Send a signal to a process."""
    os.kill(pid, signal.SIGUSR1)


def take_a_handle(pid: int) -> None:
    """Open a handle of a process."""
    os.pidfd_open(pid)


def take_its_files_away(pid: int) -> None:
    """Lower the limit of open files of a process."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))


def signal_through_a_pipe(pid: int) -> None:
    """Make the kernel signal a process when a pipe is written to."""
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, pid)


def read_a_file(path: str) -> None:
    """Read a file."""
    Path(path).read_bytes()


def list_a_folder(path: str) -> None:
    """List a folder."""
    list(Path(path).iterdir())


def write_a_file(path: str) -> None:
    """Write to a file."""
    with Path(path).open("r+b") as file:
        file.write(b"hostile")


def cut_off_a_file(path: str) -> None:
    """Truncate a file."""
    os.truncate(path, 0)


def open_a_file_emptied(path: str) -> None:
    """Open a file for reading, which truncates it before Linux 6.2."""
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))


def open_a_file_again(path: str) -> None:
    """Open a file for writing through a descriptor that can only read it."""
    os.open(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}", os.O_RDWR)


def set_the_flags_of_a_file(path: str) -> None:
    """Change the flags of a file, for which a descriptor that can only read it is enough."""
    with Path(path).open("rb") as file:
        flags = int.from_bytes(fcntl.ioctl(file, _FS_IOC_GETFLAGS, bytes(8)), "little")
        fcntl.ioctl(file, _FS_IOC_SETFLAGS, (flags ^ _FS_NOATIME).to_bytes(8, "little"))


def describe_a_file(path: str) -> None:
    """Give a file an extended attribute."""
    os.setxattr(path, "user.hostile", b"hostile")


def remove_a_file(path: str) -> None:
    """Remove a file."""
    Path(path).unlink()


def own_a_file(path: str) -> None:
    """Change the owner of a file."""
    os.chown(path, 1, 1)


def watch_a_file(path: str) -> None:
    """Watch the changes of a file."""
    _libc_call("inotify_add_watch", _libc_call("inotify_init"), path.encode(), 0xFFF)


def link_a_file(path: str, folder: str) -> None:
    """Make a hard link to a file in the own folder, so that it is served."""
    os.link(path, Path(folder) / "link")


def point_at_a_file(path: str, folder: str) -> None:
    """Make a symbolic link to a file in the own folder, so that it is served."""
    (Path(folder) / "link").symlink_to(path)


def take_a_file(path: str, folder: str) -> None:
    """Move a file into the own folder."""
    Path(path).rename(Path(folder) / "taken")


def put_a_file_beside(path: str, folder: str) -> None:
    """Move a file out of the own folder."""
    (Path(folder) / "own").write_bytes(b"hostile")
    (Path(folder) / "own").rename(Path(path).with_name("planted"))


def replace_a_file(path: str, folder: str) -> None:
    """Rename a file of the own folder over another one."""
    (Path(folder) / "own").write_bytes(b"hostile")
    (Path(folder) / "own").replace(path)


def take_a_folder(path: str, folder: str) -> None:
    """Move the folder of a file into the own folder, where all is allowed."""
    Path(path).parent.rename(Path(folder) / "taken")


def make_a_file_beside(path: str, folder: str) -> None:
    """Make a file beside another one."""
    Path(path).with_name("planted").write_bytes(b"hostile")


def make_a_folder_beside(path: str, folder: str) -> None:
    """Make a folder beside a file."""
    Path(path).with_name("planted").mkdir()


def make_a_device(folder: str) -> None:
    """Make a device node of the disk."""
    os.mknod(Path(folder) / "disk", 0o60600, os.makedev(8, 0))


def change_a_library() -> None:
    """Change a library that the next worker imports."""
    write_a_file(shutil.__file__)


def fill_the_shared_memory() -> None:
    """Leave a file in the shared folder `/dev/shm`."""
    Path("/dev/shm/hostile").write_bytes(b"hostile")  # noqa: S108


ON_THE_MACHINE: list[Callable[..., None]] = [
    *(open_tcp_socket, open_udp_socket, open_unix_socket, open_netlink_socket, open_socket_pair),
    *(become_a_program, become_an_open_program, run_a_program, run_a_shell, spawn_a_program),
    *(fork, clone, signal_everyone, outlive_the_fork_server, become_root_of_a_namespace),
    *(leave_a_key, leave_memory, hide_memory, load_a_kernel_program, open_a_ring),
    type_into_the_terminal,
]
ON_A_PROCESS: list[Callable[..., None]] = [
    *(trace, read_memory, send_a_signal, take_a_handle),
    *(take_its_files_away, signal_through_a_pipe),
]
ON_A_FILE: list[Callable[..., None]] = [
    *(read_a_file, write_a_file, cut_off_a_file, remove_a_file, own_a_file, watch_a_file)
]
TO_THE_OWN_FOLDER: list[Callable[..., None]] = [
    *(link_a_file, point_at_a_file, take_a_file, put_a_file_beside)
]
ON_THE_INPUT: list[Callable[..., None]] = [
    *(write_a_file, cut_off_a_file, remove_a_file, own_a_file, watch_a_file, open_a_file_emptied),
    *(open_a_file_again, set_the_flags_of_a_file, describe_a_file),
]
AROUND_THE_INPUT: list[Callable[..., None]] = [
    *(link_a_file, take_a_file, put_a_file_beside, replace_a_file, take_a_folder),
    *(make_a_file_beside, make_a_folder_beside),
]
