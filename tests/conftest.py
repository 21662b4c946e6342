"""Fixtures for every kind of test: real servers, started once a session."""

from collections.abc import Iterator
from importlib import import_module

import pytest

from infra.settings import Settings
from tests.stack.platform import Platform
from tests.stack.servers import Servers, running_servers


@pytest.fixture(scope="session")
def bare_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL, Valkey, Temporal and the broker of this session, without any table of ours."""
    with running_servers(tmp_path_factory.mktemp("servers")) as servers:
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
