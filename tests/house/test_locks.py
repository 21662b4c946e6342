"""The lock files: every package pinned with hashes, the image's a part of everybody's, and no index named."""

import re
from pathlib import Path

from tests.house.tree import PROJECT, ROOT

FULL, RUNTIME = ROOT / "requirements.lock", ROOT / "requirements.runtime.lock"


def _pins(lock: Path) -> set[tuple[str, str]]:
    """Name and version; a package may have two, for different Pythons."""
    return set(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), flags=re.MULTILINE))


def _pinned(lock: Path) -> set[str]:
    return {name for name, _ in _pins(lock)}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}


def test_what_the_roles_import_is_pinned_for_them() -> None:
    assert _names(PROJECT["project"]["dependencies"]) <= _pinned(RUNTIME)


def test_the_image_has_the_versions_that_are_tested() -> None:
    assert _pins(RUNTIME) <= _pins(FULL)


def test_the_image_has_nothing_to_develop_with() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert _names(extras["local"] + extras["dev"]) & _pinned(RUNTIME) == set()


def test_every_pin_has_hashes_and_no_lock_names_an_index() -> None:
    for lock in (FULL, RUNTIME):
        text = lock.read_text()
        assert len(re.findall(r"^[a-z0-9._-]+==.*\\\n    --hash=sha256:", text, flags=re.MULTILINE)) == len(_pins(lock))
        assert "--index" not in text
        assert "://" not in text
