"""What a decode child may no longer ask of the kernel: new programs, processes or sockets, or to touch other processes.

A codec needs none of these, and code that took it over through a hostile image would. It is a seccomp filter (Linux
`seccomp(2)`, `SECCOMP_MODE_FILTER`), which nothing in the process can take off again. Threads stay allowed: HEIC can't
be decoded without them. Files are not its business.
"""

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _NOT_THERE = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

# Where in `struct seccomp_data` these stand.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

_CLONE_THREAD = 0x00010000
_CLONE3 = 435
_X32 = 0x40000000


_REFUSED = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "io_uring_setup": (425, 425),  # it could do any of these unseen
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),  # `abort` finds another end
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_writev": (311, 271),
}
"""System calls and their numbers on x86_64 and aarch64, whose kernel has no `fork`."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """A processor architecture: its audit number, and its numbers of system calls."""

    audit: int
    clone: int
    refused: tuple[int, ...]


def _refused(machine: int) -> tuple[int, ...]:
    return tuple(number for numbers in _REFUSED.values() if (number := numbers[machine]) is not None)


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 56, _refused(0)),
    "aarch64": _Machine(0xC00000B7, 220, _refused(1)),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def confine() -> bool:
    """Confine this process and all its threads to come, for good; tell whether the system can."""
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return False
    code = b"".join(_filter(machine))
    program = _Program(len(code) // 8, code)
    prctl = ctypes.CDLL(None).prctl
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:  # without which only root may set a filter
        return False
    return bool(prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program)) == 0)


def _filter(machine: _Machine) -> list[bytes]:
    """The filter in classic BPF: tests one after another, each with its answer right behind it."""
    return [
        _step(_LOAD, _ARCHITECTURE),
        *_answer(_JUMP_EQUAL, machine.audit, _KILL, otherwise=True),
        _step(_LOAD, _NUMBER),
        *_answer(_JUMP_AT_LEAST, _X32, _KILL),
        *(step for call in machine.refused for step in _answer(_JUMP_EQUAL, call, _REFUSE)),
        *_answer(_JUMP_EQUAL, _CLONE3, _NOT_THERE),  # its flags are out of a filter's reach; the C library uses clone
        *_answer(_JUMP_EQUAL, machine.clone, _ALLOW, otherwise=True),
        _step(_LOAD, _FIRST_ARGUMENT),
        *_answer(_JUMP_ANY_BIT, _CLONE_THREAD, _REFUSE, otherwise=True),
        _step(_RETURN, _ALLOW),
    ]


def _answer(test: int, value: int, answer: int, *, otherwise: bool = False) -> list[bytes]:
    """Answer if the test holds, or if it does not; go on if not."""
    return [_step(test, value, int(otherwise), int(not otherwise)), _step(_RETURN, answer)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
