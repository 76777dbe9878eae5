"""One thread of the daemon stands still, as if it hung or had not had its turn yet; for who may trace it."""

import ctypes
import os
import re
import time
import unittest

from harness import BOUND

libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


def trace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def find_sleeping(pid, name):
    """One that has something to do may hold a lock; its name it has a moment after it has begun. The main one is the
    first that has the program's name."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        for thread in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):
            with open(f"/proc/{pid}/task/{thread}/stat") as stat:
                found = re.search(r"\((.*)\) (.)", stat.read())
            if found[1] == name:
                if found[2] == "S":
                    return thread
                break
    raise AssertionError(f"there is no thread {name} that sleeps")


def stop_thread(pid, name):
    thread = find_sleeping(pid, name)
    try:
        trace(SEIZE, thread)
    except PermissionError:
        raise unittest.SkipTest("no right to trace") from None
    trace(INTERRUPT, thread)
    os.waitpid(thread, WALL)
    return thread


def let_go(thread):
    trace(DETACH, thread)
