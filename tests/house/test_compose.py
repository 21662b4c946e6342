"""docker-compose.yml: the real Compose accepts it, it has every role, and it names only settings that exist."""

import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra.settings import Settings, load_settings
from tests.house.tree import OUR_MODULES, OUR_PACKAGES, ROOT

COMPOSE = Path(sys.executable).parent / "docker-compose"
ROLES = {"api", "worker", "relay", "consumers", "bank"}
SERVERS = {"postgres", "redis", "kafka", "temporal", "temporal-ui"}
ONE_SHOTS = {"temporal-schema", "temporal-namespace", "prepare"}
# The libraries of our own roles read nothing but these from the environment.
OURS = re.compile(r"SAGAPAY_[A-Z_]+")


def _compose(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environment or {})}
    return subprocess.run(
        [COMPOSE, "--project-directory", ROOT, *words], env=clean, check=False, capture_output=True, text=True
    )


@lru_cache(maxsize=1)
def services() -> dict[str, Any]:
    """The services as Compose understands them, with the passwords of .env.example."""
    done = _compose("--env-file", str(ROOT / ".env.example"), "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_it_has_every_role_and_every_server() -> None:
    assert set(services()) == ROLES | SERVERS | ONE_SHOTS


def test_it_refuses_to_start_without_passwords() -> None:
    done = _compose("--env-file", os.devnull, "config", "--quiet")
    assert done.returncode != 0
    assert "PASSWORD" in done.stderr


def test_roles_run_their_command_as_nobody_special_and_end_in_peace() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root|0)\S+", dockerfile, flags=re.MULTILINE)
    for name in ROLES:
        role = services()[name]
        assert role["command"] == [name]
        assert role["init"] is True
        assert role["stop_grace_period"]
        assert "user" not in role


def test_all_that_stays_has_a_health_check_and_starts_after_what_it_needs() -> None:
    for name in ROLES | SERVERS - {"temporal-ui"}:
        assert services()[name]["healthcheck"]["test"], name
    for name in ROLES:
        for needed, how in services()[name].get("depends_on", {}).items():
            assert how["condition"] == ("service_completed_successfully" if needed in ONE_SHOTS else "service_healthy")
    assert all("prepare" in services()[name]["depends_on"] for name in ROLES - {"bank"})


def test_data_is_in_named_volumes() -> None:
    for name in ("postgres", "kafka", "bank"):
        assert [mount["type"] for mount in services()[name]["volumes"] if mount["type"] == "volume"], name


def test_it_sets_only_settings_that_exist_and_values_that_they_take() -> None:
    known = {f"SAGAPAY_{field}".upper() for field in Settings.model_fields}
    for name in ROLES | {"prepare"}:
        ours = {key: value for key, value in services()[name]["environment"].items() if OURS.fullmatch(key)}
        assert set(ours) <= known, name
        load_settings(**{key.removeprefix("SAGAPAY_").lower(): value for key, value in ours.items()})


def test_no_password_is_written_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"(?i)(password|pwd)\w*: *(?!\$\{)[\"']?\w", text)
    example = (ROOT / ".env.example").read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    assert wanted == set(re.findall(r"^(\w+)=", example, flags=re.MULTILINE))


def test_the_image_has_every_package_that_is_ours() -> None:
    dockerfile, ignored = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text().splitlines()
    assert "\nCOPY . .\n" in dockerfile
    assert {line for line in ignored if line.startswith("!")} >= {f"!{name}" for name in OUR_PACKAGES | OUR_MODULES}
