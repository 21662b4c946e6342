"""Fixtures for every kind of test: real servers, started once a session."""

from collections.abc import Iterator
from importlib import import_module

import pytest

from infra.settings import Settings
from tests.stack.choosing import CHOICE, add_options, chosen
from tests.stack.containers import Choice
from tests.stack.platform import Platform
from tests.stack.servers import Servers, running_servers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the servers come from."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Ends at once where the chosen servers cannot be had."""
    config.stash[CHOICE] = chosen(config)


@pytest.fixture(scope="session")
def containers(pytestconfig: pytest.Config) -> Choice | None:
    """The images that `--infra=containers` has chosen; None for embedded servers."""
    return pytestconfig.stash[CHOICE]


@pytest.fixture(scope="session")
def bare_servers(tmp_path_factory: pytest.TempPathFactory, containers: Choice | None) -> Iterator[Servers]:
    """PostgreSQL, Redis or Valkey, Temporal and the broker of this session, without any table of ours."""
    with running_servers(tmp_path_factory.mktemp("servers"), containers=containers) as servers:
        yield servers


@pytest.fixture(scope="session")
def servers(bare_servers: Servers) -> Servers:
    """The session's servers with all migrations applied."""
    migrations = import_module("migrations")
    migrations.upgrade_all(bare_servers.settings.migration_urls)
    return bare_servers


@pytest.fixture(scope="session")
def server_settings(servers: Servers) -> Settings:
    """Settings that point at the session's servers."""
    return servers.settings


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The whole platform of this session, started by the real command; leave it running and whole."""
    shared = Platform(tmp_path_factory.mktemp("platform"))
    shared.up()
    yield shared
    shared.down()
