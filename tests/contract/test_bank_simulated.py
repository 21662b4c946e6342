"""The adapter of the simulated bank keeps the contract of the port, against the bank in a process of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bank_adapters.port import BankAdapter
from bank_adapters.simulated.adapter import SimulatedBank
from bank_adapters.simulator.books import AccountStatus
from bank_adapters.simulator.client import BankAdmin
from bank_adapters.simulator.faults import FaultKind
from infra.local.probes import free_ports
from tests.contract.bank_faults import BankFaults, Trouble
from tests.contract.bank_suite import BankContract
from tests.stack.bank import BankProcess, running_bank

TROUBLES = {
    Trouble.DOWN: FaultKind.DOWN,
    Trouble.LOST_REQUEST: FaultKind.TIMEOUT_BEFORE,
    Trouble.LOST_ANSWER: FaultKind.TIMEOUT_AFTER,
    Trouble.BROKEN_ANSWER: FaultKind.ERROR_AFTER,
}


class SimulatorSandbox:
    """The simulator's own administration as a bank's test environment."""

    def __init__(self, bank: BankAdapter, impatient: BankAdapter, admin: BankAdmin) -> None:
        self.bank = bank
        self.impatient = impatient
        self._admin = admin

    async def approve(self, link_token: str, *, holder_name: str, opening_balance: int) -> str:
        """The customer opens an account and says yes."""
        approval = await self._admin.approve(link_token, holder_name=holder_name, opening_balance=opening_balance)
        return approval.public_token

    async def close_account(self, account_token: str) -> None:
        """The customer leaves."""
        account = await self._admin.account(account_token)
        await self._admin.set_account_status(account.account_id, AccountStatus.CLOSED)

    async def balance(self, account_token: str) -> int:
        """What the customer has."""
        return (await self._admin.account(account_token)).balance

    async def give_back(self, reference: str, code: str) -> None:
        """The network returns it."""
        await self._admin.give_back(reference, code)

    async def misbehave(self, trouble: Trouble) -> None:
        """A fault of the simulator's."""
        await self._admin.set_fault(TROUBLES[trouble])

    async def behave(self) -> None:
        """No more faults."""
        await self._admin.clear_faults()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with running_bank(tmp_path_factory.mktemp("bank")) as bank:
        yield bank


@pytest.fixture
async def sandbox(process: BankProcess) -> AsyncIterator[SimulatorSandbox]:
    bank = SimulatedBank(process.url, request_timeout_seconds=20)
    impatient = SimulatedBank(process.url, request_timeout_seconds=1.5)
    async with process.admin() as admin:
        yield SimulatorSandbox(bank, impatient, admin)
        assert (await admin.books()).balanced
    await impatient.aclose()
    await bank.aclose()


@pytest.fixture
async def unreachable() -> AsyncIterator[BankAdapter]:
    bank = SimulatedBank(f"http://127.0.0.1:{free_ports(1)[0]}", request_timeout_seconds=1)
    yield bank
    await bank.aclose()


class TestSimulatedBank(BankContract, BankFaults):
    """All of the kit."""
