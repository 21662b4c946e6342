"""The files of this checkout, as the house tests see them."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
_INSTALLED = PROJECT["tool"]["setuptools"]
OUR_PACKAGES = frozenset(name.split(".")[0] for name in _INSTALLED["packages"])
OUR_MODULES = frozenset(f"{name}.py" for name in _INSTALLED["py-modules"])


@lru_cache(maxsize=1)
def files() -> tuple[Path, ...]:
    """Every file that is in the repository or would be with the next `git add`."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return tuple(path for name in sorted(set(filter(None, listed.split("\0")))) if (path := ROOT / name).is_file())


def named(path: Path) -> str:
    """A file's name inside the repository, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that is text."""
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path, content.decode()


@lru_cache(maxsize=1)
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    """Every Python file with its syntax tree."""
    return tuple((path, ast.parse(path.read_text(), named(path))) for path in files() if path.suffix == ".py")


def product_modules() -> Iterator[tuple[Path, ast.Module]]:
    """The Python files that move money or help to: no tests, no benchmarks."""
    for path, module in modules():
        name = named(path)
        if name in OUR_MODULES or name.split("/")[0] in OUR_PACKAGES:
            yield path, module
