"""Payments that come back while the worker dies."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final
from uuid import uuid4

from bank_adapters.port import PaymentInstruction
from domain.bank_accounts import BankAccountStatus
from domain.contracts.payments import PaymentRequest, StepCommand
from domain.contracts.returns import CLEAR_RETURN, FIND_RETURNS, FOLLOW_RETURN, TAKE_RETURN, Unmatched
from domain.contracts.suspense import Clearance
from domain.contracts.workflows import RETRY_UPDATE, OperatorCommand
from domain.ids import TransactionId
from domain.transactions import Step, TransactionKind, TransactionStatus
from tests.kills.walk import PATIENCE_SECONDS, AnyHandle, Facts, Walk
from tests.workflow.returning import booking_of, deposited, parked, put_right, watch
from tests.workflow.scene import OPENING, Payment, Person, Scene

SUCCEEDED: Final = TransactionStatus.SUCCEEDED
RETURNED: Final = TransactionStatus.RETURNED


class _Returned(Walk):
    """Somebody's payment comes back; the statement is read by somebody else."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._made: tuple[Person, TransactionId, str] | None = None

    @property
    def person(self) -> Person:
        """Whose payment it is."""
        return self._all_made[0]

    @property
    def transaction_id(self) -> TransactionId:
        """The payment's."""
        return self._all_made[1]

    @property
    def return_id(self) -> str:
        """The bank's, of the return."""
        return self._all_made[2]

    @property
    def _all_made(self) -> tuple[Person, TransactionId, str]:
        assert self._made is not None, "it is prepared"
        return self._made

    @property
    def handle(self) -> AnyHandle:
        """See Walk."""
        return booking_of(self.scene, self.return_id)

    async def prepare(self) -> None:
        """See Walk."""
        person, payment, code, amount = await self.paid()
        made = await self.scene.admin.give_back(f"{payment.transaction_id}:{payment.kind}", code, amount)
        self._made = (person, payment.transaction_id, made.return_id)

    @abstractmethod
    async def paid(self) -> tuple[Person, PaymentRequest, str, int | None]:
        """The payment, and with which code, and as how much, it comes back: None is all of it."""

    async def go(self) -> None:
        """See Walk."""
        await self.handle.result()

    async def facts(self) -> Facts:
        """See Walk."""
        wallet = await self.scene.app.wallet(self.person.wallet_id)
        payment = await self.scene.ledger.transaction(self.transaction_id)
        item = await self.scene.ledger.find_suspense(self.scene.bank.name, self.return_id)
        assert payment is not None
        return {
            "wallet": (wallet.posted, wallet.held, wallet.owed),
            "at the bank": await self.scene.at_bank(self.person),
            "status": payment.status,
            "returned": await self._times_returned(),
            "suspended": item and item.reason,
            "cleared": item and item.cleared_as,
            "bank account": await self._changes_of_the_bank_account(),
        }

    async def _times_returned(self) -> int:
        timeline = await self.scene.ledger.timeline(self.transaction_id)
        steps = [item.step for item in timeline if item.type == "step.posted"]
        return sum(step in (Step.RETURN_DEPOSIT, Step.RETURN_WITHDRAWAL) for step in steps)

    async def _changes_of_the_bank_account(self) -> Sequence[BankAccountStatus]:
        changes = await self.scene.directory.bank_account_changes(self.person.bank_account_id)
        return [change.status for change in changes]


class DepositReturned(_Returned):
    """Most of it is spent: what is left is taken back, the rest is owed."""

    CALLS = (TAKE_RETURN, FOLLOW_RETURN)
    EXPECTED: ClassVar[Facts] = {
        "wallet": (0, 0, 500),
        "at the bank": OPENING,
        "status": RETURNED,
        "returned": 1,
        "suspended": None,
        "cleared": None,
        "bank account": [BankAccountStatus.ACTIVE, BankAccountStatus.DEBITS_STOPPED],
    }

    async def paid(self) -> tuple[Person, PaymentRequest, str, int | None]:
        """See _Returned."""
        person, friend = await self.scene.person(), await self.scene.person()
        deposit = await deposited(self.scene, person, 700)
        await self.scene.finish(await self.scene.transfer(person, friend, 500), SUCCEEDED)
        return person, _recorded(deposit), "R10", None


class WithdrawalReturned(_Returned):
    """It is in the wallet again."""

    CALLS = (TAKE_RETURN, FOLLOW_RETURN)
    EXPECTED: ClassVar[Facts] = {
        **DepositReturned.EXPECTED,
        "wallet": (1_000, 0, 0),
        "at the bank": OPENING - 1_000,
        "bank account": [BankAccountStatus.ACTIVE, BankAccountStatus.RELINK_REQUIRED],
    }

    async def paid(self) -> tuple[Person, PaymentRequest, str, int | None]:
        """See _Returned."""
        person = await self.scene.person(balance=1_000)
        withdrawal = await self.scene.withdraw(person, 400)
        await self.scene.finish(withdrawal, SUCCEEDED)
        return person, _recorded(withdrawal), "R03", None


class SuspendedThenCorrected(_Returned):
    """Another amount came back than was paid: it waits in suspense until the bank has put it right."""

    CALLS = (TAKE_RETURN, CLEAR_RETURN)
    TWO_COMMITS = (2,)
    EXPECTED: ClassVar[Facts] = {
        **DepositReturned.EXPECTED,
        "wallet": (300, 0, 0),
        "at the bank": OPENING - 300 + 299,
        "status": SUCCEEDED,
        "returned": 0,
        "suspended": Unmatched.WRONG_AMOUNT,
        "cleared": Clearance.CORRECTED,
        "bank account": [BankAccountStatus.ACTIVE],
    }

    async def paid(self) -> tuple[Person, PaymentRequest, str, int | None]:
        """See _Returned."""
        person = await self.scene.person()
        return person, _recorded(await deposited(self.scene, person, 300)), "R01", 299

    async def go(self) -> None:
        """See Walk."""
        await parked(self.scene, self.handle, Unmatched.WRONG_AMOUNT, PATIENCE_SECONDS)
        await put_right(self.scene, self.handle, 299)


class SuspendedThenMatched(_Returned):
    """It came back before we knew of the payment; tried again it is found, and what was suspended is its return."""

    CALLS = (TAKE_RETURN, TAKE_RETURN, FOLLOW_RETURN)
    TWO_COMMITS = (2,)
    EXPECTED: ClassVar[Facts] = {
        **DepositReturned.EXPECTED,
        "wallet": (0, 0, 0),
        "suspended": Unmatched.UNKNOWN,
        "cleared": Clearance.MATCHED,
    }

    async def paid(self) -> tuple[Person, PaymentRequest, str, int | None]:
        """See _Returned."""
        person = await self.scene.person()
        self._asked = self.scene.asked(TransactionKind.DEPOSIT, 200, destination=person)
        order = PaymentInstruction(
            reference=f"{self._asked.transaction_id}:deposit",
            account_token=person.customer.account_token,
            amount=self._asked.amount,
        )
        await self.scene.bank.pull(order)
        return person, self._asked, "R10", None

    async def go(self) -> None:
        """See Walk."""
        await parked(self.scene, self.handle, Unmatched.UNKNOWN, PATIENCE_SECONDS)
        await self.scene.ledger.begin(self._asked, Step.RECORD_DEPOSIT)
        for step in (Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT):
            await self.scene.ledger.take_step(StepCommand(transaction_id=self._asked.transaction_id, step=step))
        known = OperatorCommand(by="tests", reason="now we know the payment")
        await self.handle.execute_update(RETRY_UPDATE, known)
        await self.handle.result()


class StatementRead(_Returned):
    """The bank's statement is read, with what came back since it was read the last time."""

    CALLS = (FIND_RETURNS,)
    EXPECTED: ClassVar[Facts] = {**DepositReturned.EXPECTED, "wallet": (0, 0, 0)}

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._name = f"watch-{uuid4().hex}"

    @property
    def handle(self) -> AnyHandle:
        """See Walk."""
        return self.scene.temporal.get_workflow_handle(self._name)

    async def prepare(self) -> None:
        """See Walk."""

    async def paid(self) -> tuple[Person, PaymentRequest, str, int | None]:
        """See _Returned."""
        person = await self.scene.person()
        return person, _recorded(await deposited(self.scene, person, 250)), "R10", None

    async def go(self) -> None:
        """See Walk."""
        await super().prepare()
        await watch(self.scene, self._name)
        await booking_of(self.scene, self.return_id).result()


def _recorded(payment: Payment) -> PaymentRequest:
    return replace(payment.request, transaction_id=payment.transaction_id)


RETURNS: Final = (DepositReturned, WithdrawalReturned, SuspendedThenCorrected, SuspendedThenMatched, StatementRead)
