"""Become another program that cannot outlive its supervisor. Run by path with `python -I -S`, imports nothing of ours.

    launcher.py PARENT_PID SIGNAL UNPRIVILEGED WATCHDOG_FD PROGRAM ARGUMENT…

A program of its own, not a hook between fork and exec: such a hook may deadlock where the parent has threads.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
UNPRIVILEGED_ID = 1000


def _leave_root() -> None:
    """Continue as an ordinary user of a new user namespace; files keep their owner, so nothing needs a chown."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit(
            "PostgreSQL does not run as root, and this kernel refuses root a user namespace "
            f"({os.strerror(ctypes.get_errno())}): start the platform as an ordinary user"
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{UNPRIVILEGED_ID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{UNPRIVILEGED_ID} {gid} 1")


def tie_to(parent: int, signal_number: int, watchdog: int) -> None:
    """End with the parent: by the kernel's signal, or by the watchdog's. Exits if the parent is gone already."""
    if watchdog >= 0:
        os.write(watchdog, b"+%d %d\n" % (os.getpid(), signal_number))
        os.close(watchdog)  # The watchdog acts when the last writer is gone, so a child must not keep it open.
    elif sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit("the supervisor ended first")


def main() -> None:
    """Leave root where asked, tie this process to its parent's life, then exec."""
    parent, signal_number, unprivileged, watchdog = map(int, sys.argv[1:5])
    if unprivileged:
        _leave_root()  # First: a change of credentials clears the parent-death signal.
    tie_to(parent, signal_number, watchdog)
    os.execvp(sys.argv[5], sys.argv[5:])  # noqa: S606


if __name__ == "__main__":
    main()
