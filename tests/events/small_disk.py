"""A small disk of a test's own, to be filled: a tmpfs, which only root may mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A folder on a disk that ends soon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, *, free_bytes: int) -> None:
        """Take what is free, up to `free_bytes`, as somebody else on the same disk would."""
        with (self.folder / "of-somebody-else").open("ab") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(0, self.free_bytes - free_bytes))

    def grow(self, megabytes: int) -> None:
        """Make it as large as this, with what is on it."""
        _mount("-o", f"remount,size={megabytes}m", str(self.folder))

    @property
    def free_bytes(self) -> int:
        """How much still fits."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A disk of this size, mounted at `folder`. Skips the test where mounting is not allowed."""
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
        pytest.skip(f"a small disk cannot be mounted here (it wants root): {reason}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, text=True)
