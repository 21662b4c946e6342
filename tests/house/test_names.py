"""Names and sizes: files have one reason to change and say what they are; nothing names one machine or one registry."""

import ast
import re
from collections.abc import Iterator

from tests.house.tree import PROJECT, ROOT, files, modules, named, texts

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
VAGUE = ("util", "utils", "helper", "helpers", "misc", "common", "manager", "managers", "stuff")
# Joined here, so that this file does not name what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("golang", "org"),
        ("maven", "org"),
        ("maven", "apache", "org"),
        ("deb", "debian", "org"),
    )
)
ONE_MACHINE = re.compile(r"(?<![\w.}~/-])/(?:root|home|Users|work|mnt)/[\w.]+")


def _words(name: str) -> list[str]:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")


def _functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short() -> None:
    lines = {named(path): len(path.read_text().splitlines()) for path, _ in modules()}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    long = [
        f"{named(path)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, module in modules()
        for node in _functions(module)
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_nothing_has_a_vague_name() -> None:
    vague = [
        named(path)
        for path in files()
        for part in path.relative_to(ROOT).parts
        if set(_words(part.split(".")[0].replace("-", "_"))) & set(VAGUE)
    ]
    vague += [
        f"{named(path)}: class {node.name}"
        for path, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and set(_words(node.name)) & set(VAGUE)
    ]
    assert vague == []


def test_no_file_names_a_package_registry() -> None:
    found = [f"{named(path)} names {host}" for path, text in texts() for host in REGISTRY_HOSTS if host in text]
    assert found == []


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{named(path)}:{number}: {match[0]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        for match in [ONE_MACHINE.search(line)]
        if match
    ]
    assert found == []


def test_every_package_is_installed_and_layered() -> None:
    packages = {
        named(path.parent).replace("/", ".")
        for path in files()
        if path.name == "__init__.py" and path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")
    }
    # Alembic finds its versions as files beside migrations/env.py.
    assert packages - {"migrations.versions"} <= set(PROJECT["tool"]["setuptools"]["packages"])
    layered = set(PROJECT["tool"]["importlinter"]["root_packages"])
    assert {name for name in packages if "." not in name} - {"migrations"} <= layered


def test_changelog_tells_of_this_version() -> None:
    assert f"## [{PROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text()
