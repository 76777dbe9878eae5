"""One thread of the daemon stands still, as if it hung or had not had its turn yet; for who may trace it."""

import ctypes
import os
import time
import unittest

from harness import BOUND

libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


def trace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def find_thread(pid, name):
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:      # it has its name a moment after it has begun
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/comm") as comm:
                if comm.read() == name + "\n":
                    return int(thread)
    raise AssertionError(f"there is no thread {name}")


def stop_thread(pid, name):
    thread = find_thread(pid, name)
    try:
        trace(SEIZE, thread)
    except PermissionError:
        raise unittest.SkipTest("no right to trace") from None
    trace(INTERRUPT, thread)
    os.waitpid(thread, WALL)
    return thread


def let_go(thread):
    trace(DETACH, thread)
