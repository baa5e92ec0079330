"""The system calls that are forbidden to a worker after the warm-up of its device.

Dangerous calls are refused and all others allowed, not the reverse: a driver update that makes an
unlisted call must not stop the service. Calls newer than this list fail with ENOSYS, as on an older
kernel, which programs can handle.

The numbers are those of x86_64 and aarch64 (`-`: none), from the kernel's headers.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections.abc import Mapping

from service.sandbox import seccomp
from service.sandbox.seccomp import Block, allow, fail, when, where_argument, where_bit
from service.sandbox.wall import Wall

LAST_KNOWN = 469
"""The newest call that was reviewed: file_setattr, of Linux 6.17."""

REFUSED = {
    "starts a program or a process": """
        execve:59:221 execveat:322:281 fork:57:- vfork:58:-
    """,
    "reaches another machine, or a service of this one": """
        socket:41:198 socketpair:53:199 connect:42:203 bind:49:200 listen:50:201 accept:43:202
        accept4:288:242
    """,
    "reaches another process": """
        ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271
        process_madvise:440:440 process_mrelease:448:448 pidfd_open:434:434 pidfd_getfd:438:438
        pidfd_send_signal:424:424 kcmp:312:272 tkill:200:130 rt_sigqueueinfo:129:138
        rt_tgsigqueueinfo:297:240 migrate_pages:256:238 move_pages:279:239
    """,
    "reaches files in a way that Landlock does not see": """
        chown:92:- fchown:93:55 lchown:94:- fchownat:260:54 setxattr:188:5 lsetxattr:189:6
        fsetxattr:190:7 setxattrat:463:463 removexattr:197:14 lremovexattr:198:15
        fremovexattr:199:16 removexattrat:466:466 file_setattr:469:469 truncate:76:45 link:86:-
        linkat:265:37 symlink:88:- symlinkat:266:36 mknod:133:- mknodat:259:33
        open_by_handle_at:304:265 inotify_init:253:- inotify_init1:294:26
        inotify_add_watch:254:27 fanotify_init:300:262 quotactl:179:60 quotactl_fd:443:443
    """,
    "takes memory that is not counted as the process's, or that outlives it": """
        memfd_create:319:279 memfd_secret:447:447 shmget:29:194 shmat:30:196 shmctl:31:195
        semget:64:190 semop:65:193 semtimedop:220:192 semctl:66:191 msgget:68:186 msgsnd:69:189
        msgrcv:70:188 msgctl:71:187 mq_open:240:180 mq_unlink:241:181
    """,
    "leaves the namespaces, or changes the view of the file system": """
        unshare:272:97 setns:308:268 chroot:161:51 pivot_root:155:41 mount:165:40 umount2:166:39
        mount_setattr:442:442 move_mount:429:429 open_tree:428:428 open_tree_attr:467:467
        fsopen:430:430 fsconfig:431:431 fsmount:432:432 fspick:433:433
    """,
    "is a part of the kernel that no job needs": """
        bpf:321:280 perf_event_open:298:241 userfaultfd:323:282 io_uring_setup:425:425
        io_uring_enter:426:426 io_uring_register:427:427 add_key:248:217 request_key:249:218
        keyctl:250:219 kexec_load:246:104 kexec_file_load:320:294 init_module:175:105
        finit_module:313:273 delete_module:176:106 modify_ldt:154:- personality:135:92
        iopl:172:- ioperm:173:- acct:163:89 swapon:167:224 swapoff:168:225 reboot:169:142
        syslog:103:116 settimeofday:164:170 clock_settime:227:112 clock_adjtime:305:266
        adjtimex:159:171 sethostname:170:161 setdomainname:171:162
    """,
}
"""Calls that fail with EPERM, grouped by what they do."""

IGNORED = """
    sched_setaffinity:203:122 sched_setscheduler:144:119 sched_setparam:142:118
    sched_setattr:314:274 setpriority:141:140 ioprio_set:251:30 chmod:90:- fchmod:91:52
    fchmodat:268:53 fchmodat2:452:452 utime:132:- utimes:235:- futimesat:261:- utimensat:280:88
"""
"""Calls that report success and do nothing. They could slow another process, or change the mode of
a read-only file. Libraries make them for their own threads and for the mode of a copied file, and
would fail if the call failed."""

LOOKED_INTO = """
    clone:56:220 clone3:435:435 kill:62:129 tgkill:234:131 prlimit64:302:261 prctl:157:167
    fcntl:72:25 ioctl:16:29
"""
"""Calls that are allowed or refused depending on their arguments, see `_rules_on_arguments`."""

_CLONE_THREAD = 0x10000
# PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_MM, PR_SET_PTRACER
_PRCTL = (1, 4, 35, 0x59616D61)
# F_SETOWN, F_SETSIG, F_SETOWN_EX send signals to other processes; F_SETLEASE delays them.
_FCNTL = (8, 10, 15, 1024)
# TIOCSTI and TIOCLINUX type into a terminal; FIOSETOWN and SIOCSPGRP are F_SETOWN.
# FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR and FS_IOC_ENABLE_VERITY change a file that can only be read.
_IOCTL = (0x5412, 0x541C, 0x8901, 0x8902, 0x40086602, 0x401C5820, 0x40806685)

# The kernel's number of an architecture, and its column in these tables.
_ARCHITECTURES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}


def close_calls() -> Wall:
    """Install the filter for all threads of this process; it cannot be removed again."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES or struct.calcsize("P") != 8:
        return Wall.missing("calls", f"No system calls of {machine} are known here")
    try:
        seccomp.install(machine, program(machine, os.getpid()))
    except OSError as error:
        return Wall.missing("calls", "The kernel refuses a filter of system calls", error)
    return Wall(
        name="calls", held=True, detail="No network, no new process, no access to another one."
    )


def program(machine: str, pid: int) -> Block:
    """Return the filter for a process on this kind of machine."""
    architecture, column = _ARCHITECTURES[machine]
    rules: dict[int, Block] = {}
    for group in REFUSED.values():
        rules |= dict.fromkeys(numbers(group, column).values(), fail(errno.EPERM))
    rules |= dict.fromkeys(numbers(IGNORED, column).values(), fail(0))
    looked_into = _rules_on_arguments(pid)
    for name, number in numbers(LOOKED_INTO, column).items():
        rules[number] = looked_into[name]
    return [
        *seccomp.unless_architecture(architecture, seccomp.kill()),
        *seccomp.load_number(),
        *seccomp.when_above(LAST_KNOWN, fail(errno.ENOSYS)),
        *(each for number, block in rules.items() for each in when(number, block)),
        *allow(),
    ]


def numbers(table: str, column: int) -> dict[str, int]:
    """Parse a table of calls.

    >>> numbers("fork:57:- execve:59:221", 2)
    {'execve': 221}
    """
    rows = [row.split(":") for row in table.split()]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _rules_on_arguments(pid: int) -> Mapping[str, Block]:
    refuse = fail(errno.EPERM)
    only_this_process = where_argument(0, [pid], allow(), refuse)
    return {
        "clone": where_bit(0, _CLONE_THREAD, allow(), refuse),
        # Its flags are in memory, which a filter cannot read. On ENOSYS, thread libraries use clone
        # instead; on any other error they cannot start a thread.
        "clone3": fail(errno.ENOSYS),
        "kill": only_this_process,
        "tgkill": only_this_process,
        "prlimit64": where_argument(0, [0, pid], allow(), refuse),
        "prctl": where_argument(0, _PRCTL, refuse, allow()),
        "fcntl": where_argument(1, _FCNTL, refuse, allow()),
        "ioctl": where_argument(1, _IOCTL, refuse, allow()),
    }
