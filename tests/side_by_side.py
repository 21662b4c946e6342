"""Runs pytest twice at the same time: most of what the suite does is waiting for servers.

`python -m tests.side_by_side [ARGUMENTS] -- PATHS… [-- PATHS…]`: every group of paths is a run of its own, on servers
of its own, and all get the arguments. The first is shown as it goes, the others when they are over.
"""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile


def main(words: Sequence[str]) -> int:
    """0 if all runs have passed, else the exit code of one that has not."""
    arguments, *groups = _groups(words)
    if not groups:
        print(__doc__, file=sys.stderr)
        return 2
    first, *others = ([sys.executable, "-m", "pytest", *arguments, *paths] for paths in groups)
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile()) for _ in others]
        beside = [
            subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
            for command, file in zip(others, files, strict=True)
        ]
        codes = [subprocess.run(first, check=False).returncode]
        for run, file in zip(beside, files, strict=True):
            codes.append(run.wait())
            file.seek(0)
            sys.stdout.write(f"\n======== beside it: {' '.join(map(str, run.args[1:]))}\n{file.read().decode()}")  # type: ignore[index]
    return next(filter(None, codes), 0)


def _groups(words: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            groups.append([])
        else:
            groups[-1].append(word)
    return groups


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
