"""Fixtures of tests that speak to the API: imported by the conftest of each kind of test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from ledger.directory import Scope
from tests.rest.stage import Caller, Stage, staged
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


@pytest.fixture(scope="module")
async def second_operator(rest: Stage) -> AsyncIterator[Caller]:
    """Another operator than the stage's."""
    key = await rest.backends.directory.create_key(rest.client_id, Scope.OPERATOR, "John")
    caller = rest.caller(key)
    yield caller
    await caller.http.aclose()
