"""Begin the adapter of another bank: `python -m tests.contract.new_bank acme`, or `make bank NAME=acme`.

The simulated bank's adapter is the template. It is copied under the new name, with its conformance test, and put into
the registry. All of it passes the kit before the first change, against the simulated bank; from then on it is changed
place by place, until it passes against the new bank's sandbox.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final = "simulated"
NEXT: Final = """[bold]{name}[/] is registered, and its tests are green: pytest {test}

What is {name}'s own, in this order (docs/recipes/add-a-bank.md says more):
  1. {folder}/answers.py: its answers, as values of the port
  2. {folder}/adapter.py: its rails and limits, its addresses, how it wants to be signed for; from_settings
  3. infra/settings.py: where it is, and its secrets' file; make docs
  4. {test}: its sandbox in place of the simulated bank's
"""
_NAME: Final = re.compile(r"[a-z][a-z0-9]{1,29}")

Rename = Callable[[str], str]


class CannotBegin(Exception):
    """There can be no new bank of that name; the message says why."""


def begin(name: str, root: Path = ROOT) -> Path:
    """Copy the template and register the copy; the folder of the new adapter. Raises CannotBegin."""
    if not _NAME.fullmatch(name):
        raise CannotBegin(f"{name!r} is no name for a bank: 2 to 30 of a-z and 0-9, a letter first")
    folder = root / "bank_adapters" / name
    if folder.exists():
        raise CannotBegin(f"{folder.relative_to(root)} is there already")
    rename = _renaming(name)
    folder.mkdir()
    for source in sorted((root / "bank_adapters" / TEMPLATE).glob("*.py")):
        (folder / source.name).write_text(rename(source.read_text()))
    test = root / "tests" / "contract" / f"test_bank_{name}.py"
    test.write_text(rename((root / "tests" / "contract" / f"test_bank_{TEMPLATE}.py").read_text()))
    registry = root / "bank_adapters" / "registry.py"
    _register(name, registry)
    _tidy(root, folder, test, registry)
    return folder


def class_of(name: str) -> str:
    """What the adapter is called in the code."""
    return f"{name.capitalize()}Bank"


def _renaming(name: str) -> Rename:
    def rename(text: str) -> str:
        text = text.replace(f"bank_adapters.{TEMPLATE}", f"bank_adapters.{name}")
        text = text.replace("SimulatedBank", class_of(name))
        text = text.replace('NAME: Final = "simulator"', f'NAME: Final = "{name}"')
        return text.replace("the simulated bank", name).replace("The simulated bank", name)

    return rename


def _register(name: str, registry: Path) -> None:
    lines = registry.read_text().splitlines(keepends=True)
    ours = [number for number, line in enumerate(lines) if line.startswith("from bank_adapters.")]
    entry = next((number for number, line in enumerate(lines) if "SimulatedBank.NAME:" in line), None)
    if not ours or entry is None:
        raise CannotBegin(f"{registry.name} does not look as it did; put {class_of(name)} into it by hand")
    lines.insert(entry + 1, f"        {class_of(name)}.NAME: {class_of(name)}.from_settings,\n")
    lines.insert(ours[0], f"from bank_adapters.{name}.adapter import {class_of(name)}\n")
    registry.write_text("".join(lines))


def _tidy(root: Path, *paths: Path) -> None:
    """Imports are sorted by the names that they have now."""
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--quiet", "--select", "I", "--fix", *paths], cwd=root, check=True)
    subprocess.run([*ruff, "format", "--quiet", *paths], cwd=root, check=True)


def main(*arguments: str) -> int:
    """Begin, and say what comes next."""
    console = Console()
    if len(arguments) != 1:
        console.print("Which bank? make bank NAME=acme")
        return 2
    (name,) = arguments
    try:
        folder = begin(name)
    except CannotBegin as error:
        console.print(str(error))
        return 1
    console.print(NEXT.format(name=name, folder=folder.relative_to(ROOT), test=f"tests/contract/test_bank_{name}.py"))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
