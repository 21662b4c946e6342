"""Fixtures of tests that speak to the API: imported by the conftest of each kind of test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rest.stage import Stage, staged
from tests.stack.bank import BankProcess, running_bank
from tests.stack.servers import Servers


@pytest.fixture(scope="session")
def rest_bank(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    """The simulated bank at the address that the session's settings name."""
    with running_bank(tmp_path_factory.mktemp("rest-bank"), servers.settings.bank_port) as bank:
        yield bank


@pytest.fixture(scope="session")
async def rest(servers: Servers, rest_bank: BankProcess) -> AsyncIterator[Stage]:
    """The API with its workers and a bank, shared by the session."""
    quick = servers.settings.model_copy(update={"settlement_poll_seconds": 0.2, "accept_timeout_seconds": 20.0})
    async with staged(quick, rest_bank) as stage:
        yield stage
