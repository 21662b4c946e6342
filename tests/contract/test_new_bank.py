"""A new bank begins as the template under its own name: registered, tidy, and green in the conformance kit."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.new_bank import CannotBegin, begin, class_of
from tests.house.tree import ROOT, files, named


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checkout, to begin a bank in."""
    for source in files():
        if source.suffix in {".py", ".toml", ".sql"} and not named(source).startswith("docs/"):
            target = tmp_path / named(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return tmp_path


def _run(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=tree, text=True, capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_recipe_begins_with_a_bank_that_passes_the_kit(tree: Path) -> None:
    told = _run(tree, "tests.contract.new_bank", "acme")
    assert "tests/contract/test_bank_acme.py" in told
    _run(tree, "ruff", "check", "bank_adapters", "tests/contract")
    _run(tree, "ruff", "format", "--check", "bank_adapters", "tests/contract")
    names = _run(tree, "pytest", "-q", "--collect-only", "tests/contract/test_bank_acme.py", "-p", "no:cacheprovider")
    assert "test_bank_acme.py::TestAcmeBank::" in names
    passed = _run(tree, "pytest", "-q", "tests/contract/test_bank_acme.py", "-m", "", "-p", "no:cacheprovider")
    assert " passed" in passed
    assert "failed" not in passed
    registered = (
        "from bank_adapters.registry import BANKS; print([(name, made.__self__.NAME) for name, made in BANKS.items()])"
    )
    known = subprocess.run(
        [sys.executable, "-c", registered], cwd=tree, text=True, capture_output=True, check=True, timeout=60
    )
    assert known.stdout.strip() == "[('simulator', 'simulator'), ('acme', 'acme')]"


@pytest.mark.parametrize("name", ["", "A", "acme.bank", "1st", "acme-bank", "../acme"])
def test_a_bank_needs_a_name_that_can_be_a_folder_and_a_queue(name: str) -> None:
    with pytest.raises(CannotBegin, match="no name for a bank"):
        begin(name)


@pytest.mark.parametrize("name", ["simulated", "simulator"])
def test_what_is_there_stays_as_it_is(name: str) -> None:
    before = {path: path.read_bytes() for path in (ROOT / "bank_adapters").rglob("*.py")}
    with pytest.raises(CannotBegin, match="there already"):
        begin(name)
    assert before == {path: path.read_bytes() for path in (ROOT / "bank_adapters").rglob("*.py")}


def test_its_class_is_named_after_it() -> None:
    assert class_of("acme") == "AcmeBank"
