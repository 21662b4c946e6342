"""`make` alone lists every command with a line, and the documentation names only commands that exist."""

import re
import subprocess

from tests.house.tree import ROOT, files, named

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, flags=re.MULTILINE))


def test_every_target_is_phony_and_listed() -> None:
    phony = set(" ".join(re.findall(r"^\.PHONY:(.*)$", MAKEFILE, flags=re.MULTILINE)).split())
    assert phony == TARGETS
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert set(re.findall(r"^  make ([a-z-]+) +\S", listed, flags=re.MULTILINE)) == TARGETS


def test_the_documentation_names_only_real_targets() -> None:
    named_targets = {
        (named(path), target)
        for path in files()
        if path.suffix == ".md"
        for target in re.findall(r"`make ([a-z-]+)", path.read_text())
    }
    assert {(page, target) for page, target in named_targets if target not in TARGETS} == set()
