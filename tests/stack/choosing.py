"""Where a session's servers come from: pytest's options, and for `make` and CI a command that knows what is missing.

python -m tests.stack.choosing [OPTIONS]  says why there can be no containers, and ends with 1; or ends with 0.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.stack.containers import Choice, ContainersUnavailable, compose_images

CHOICE: pytest.StashKey[Choice | None] = pytest.StashKey()
INFRA = ("embedded", "containers")
IMAGES = {"postgres_image": "postgres", "redis_image": "valkey", "kafka_image": "kafka"}
"""Option → the server's name."""


def _options() -> Mapping[str, Mapping[str, Any]]:
    """The options that say which containers."""
    network = {"choices": ("published", "host"), "default": "published", "help": "how tests reach containers"}
    named = {
        f"--{option.replace('_', '-')}": {"help": f"the image of {name}; else that of docker-compose.yml"}
        for option, name in IMAGES.items()
    }
    return {"--container-network": network, **named}


def add_options(parser: pytest.Parser) -> None:
    """--infra, and what says which containers."""
    group = parser.getgroup("servers")
    group.addoption("--infra", choices=INFRA, default=INFRA[0], help="where PostgreSQL, Redis and Kafka come from")
    for name, details in _options().items():
        group.addoption(name, **details)


def _choice(values: Mapping[str, Any]) -> Choice:
    named = {name: str(values[option]) for option, name in IMAGES.items() if values[option]}
    images = {**(compose_images() if len(named) < len(IMAGES) else {}), **named}
    return Choice(images, host_network=values["container_network"] == "host")


def chosen(config: pytest.Config) -> Choice | None:
    """None for embedded servers. Raises UsageError, which ends pytest, where the chosen ones cannot be had."""
    if config.getoption("infra") == INFRA[0]:
        return None
    choice = _choice(vars(config.option))
    try:
        choice.check()
    except ContainersUnavailable as error:
        raise pytest.UsageError(f"--infra=containers: {error}") from error
    return choice


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.choosing")
    for name, details in _options().items():
        parser.add_argument(name, **details)
    try:
        _choice(vars(parser.parse_args(arguments))).check()
    except ContainersUnavailable as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
