"""Programs under ptrace: stop them at their system calls, look at a call, have it fail or do less.

What is stopped is one thread; scripts that it starts run on. Looking at calls and changing them is for x86-64, counting
them works anywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

# linux/ptrace.h
TRACEME, POKEUSER, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
O_TRACESYSGOOD, O_EXITKILL = 1, 1 << 20
SYSCALL_STOP = signal.SIGTRAP | 0x80
_ENTRY, _EXIT = 1, 2

# Places of registers in struct user of x86-64.
_RAX, _RDX, _ORIG_RAX = 80, 96, 120

AT_FDCWD: Final = -100
X86: Final = platform.machine() == "x86_64"
_SUPPRESSED: Final = (SYSCALL_STOP, signal.SIGTRAP, signal.SIGSTOP)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request: int, pid: int, data: int = 0, address: int = 0) -> int:
    made: int = _libc.ptrace(request, pid, address, data)
    if made == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "ptrace")
    return made


def start(run: Callable[[], NoReturn]) -> int:
    """Fork a child that is stopped at each system call; it has not begun yet. Its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            run()
        finally:
            os._exit(99)  # whatever happens, there is one of us who goes on
    os.waitpid(pid, 0)
    ptrace(SETOPTIONS, pid, O_TRACESYSGOOD | O_EXITKILL)
    return pid


def stops(pid: int, at_stop: Callable[[int], bool]) -> int:
    """Let the child run; at each stop for a system call (entry and exit are one each) the function gets its number,
    from 0, and says whether the child goes on. If not, it is killed. The exit code, or minus the signal."""
    number = -1
    go_on = True
    stop = int(signal.SIGSTOP)
    while go_on:
        with contextlib.suppress(ProcessLookupError):
            ptrace(SYSCALL, pid, 0 if stop in _SUPPRESSED else stop)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        stop = os.WSTOPSIG(status)
        if stop == SYSCALL_STOP:
            number += 1
            go_on = at_stop(number)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- looking at calls, x86-64 --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that is about to be made."""

    pid: int
    number: int
    args: tuple[int, ...]

    def text(self, arg: int) -> bytes:
        """A string that an argument points to."""
        with open(f"/proc/{self.pid}/mem", "rb") as memory:
            memory.seek(self.args[arg])
            return memory.read(4096 - self.args[arg] % 4096 or 4096).partition(b"\0")[0]

    def file(self, arg: int) -> str:
        """The file behind a descriptor, as the kernel names it; "" if there is none."""
        fd = ctypes.c_int(self.args[arg]).value
        try:
            return os.readlink(f"/proc/{self.pid}/" + ("cwd" if fd == AT_FDCWD else f"fd/{fd}"))
        except OSError:
            return ""

    def path(self, folder: int, name: int) -> str:
        """What an ...at call names."""
        return os.path.join(self.file(folder), os.fsdecode(self.text(name)))

    def refuse(self) -> None:
        """It is not made; what it returns is set when it is over."""
        ptrace(POKEUSER, self.pid, (1 << 64) - 1, _ORIG_RAX)

    def shorten(self, count: int) -> None:
        """Of a read or write: so many bytes."""
        ptrace(POKEUSER, self.pid, count, _RDX)

    def returns(self, value: int) -> None:
        """At the exit of the call."""
        ptrace(POKEUSER, self.pid, value & ((1 << 64) - 1), _RAX)


def entered(pid: int) -> Call | None:
    """The call at whose entry the child is stopped; None: at an exit."""
    info = ctypes.create_string_buffer(88)
    ptrace(GET_SYSCALL_INFO, pid, ctypes.addressof(info), len(info))
    if info.raw[0] != _ENTRY:
        return None
    number, *args = struct.unpack_from("7Q", info.raw, 24)
    return Call(pid, number, tuple(args))
