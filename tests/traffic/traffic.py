"""Traffic: people, their banks' tempers, and many payments at once."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import httpx
import orjson

from bank_adapters.simulator.client import BankAdmin
from bank_adapters.simulator.faults import FaultKind, Operation
from bank_adapters.simulator.models import ApprovalView
from tests.stack.platform import Platform
from tests.traffic.app import PAUSE_SECONDS, Body, PatientApp
from tests.traffic.mix import FUNDS, TEMPERS, Mix, Repeat, Sending, Temper
from tests.traffic.model import Model, Order, PaymentSeen, Person

OPENING: Final = 100_000_000
AT_ONCE: Final = 6
COPIES: Final = 3
LATER_SECONDS: Final = 1.5

# A look-up is left alone: that the bank answers it is how a payment of unknown fate is found.
FAULTS: Final[Mapping[Temper, Sequence[tuple[FaultKind, Operation]]]] = {
    Temper.GOOD: (),
    Temper.REFUSES: ((FaultKind.REFUSE, Operation.ANY),),
    Temper.SAYS_NOTHING: ((FaultKind.TIMEOUT_AFTER, Operation.PULL), (FaultKind.TIMEOUT_AFTER, Operation.PUSH)),
    Temper.SETTLES_LATER: ((FaultKind.SETTLE_LATER, Operation.ANY),),
}


class Traffic:
    """Sends orders through the REST API alone and keeps the model. Use it as `async with Traffic(platform, seed)`."""

    def __init__(self, platform: Platform, seed: int) -> None:
        self.platform = platform
        self.model = Model()
        self.app = PatientApp(platform.api_url, platform.app_key)
        self.bank = BankAdmin(platform.bank_url)
        self.mix: Mix
        self._seed = seed
        self._stack = AsyncExitStack()
        self._answers = 0
        self._answered = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.app)
        await self._stack.enter_async_context(self.bank)
        self.model.people = list(await asyncio.gather(*(self._join(temper) for temper in TEMPERS)))
        self.mix = Mix(self._seed, self.model.people)
        await self.send([Sending(self.mix.deposit(person, FUNDS), Repeat.ONCE) for person in self.model.people])
        await self.until_final()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _join(self, temper: Temper) -> Person:
        body: Body = {"name": temper, "email": "a@example.com"}
        key = _any_key()
        user = orjson.loads(await self.app.post("/v1/users", body, key))
        assert orjson.loads(await self.app.post("/v1/users", body, key)) == user
        approval = await self._approved(user["user_id"], temper)
        body = {"user_id": user["user_id"], "public_token": approval.public_token}
        account = orjson.loads(await self.app.post("/v1/bank-accounts", body, _any_key()))
        for fault, operation in FAULTS[temper]:
            seconds = LATER_SECONDS if fault is FaultKind.SETTLE_LATER else None
            await self.bank.set_fault(fault, operation=operation, account=approval.account_id, seconds=seconds)
        return Person(
            name=temper,
            user_id=user["user_id"],
            wallet_id=user["wallet_id"],
            bank_account_id=account["bank_account_id"],
            account_at_bank=approval.account_id,
            opening=OPENING,
        )

    async def _approved(self, user_id: str, temper: Temper) -> ApprovalView:
        """The user says yes at the bank; with a new link where the bank died over it."""
        while True:
            link = orjson.loads(await self.app.post("/v1/bank-links", {"user_id": user_id}, _any_key()))
            try:
                return await self.bank.approve(link["link_token"], holder_name=temper, opening_balance=OPENING)
            except httpx.TransportError:
                await asyncio.sleep(PAUSE_SECONDS)

    async def welcome(self) -> None:
        """Somebody new opens a wallet, links a bank, brings money and gives some away, whatever dies meanwhile."""
        newcomer = await self._join(Temper.GOOD)
        self.mix.know(newcomer, Temper.GOOD)
        self.model.people.append(newcomer)
        await self.ask(self.mix.deposit(newcomer, FUNDS))
        await self.ask(self.mix.transfer(newcomer, self.person(), FUNDS // 2))

    def person(self, temper: Temper = Temper.GOOD) -> Person:
        """Somebody whose bank has this temper."""
        return next(person for person in self.model.people if person.name == temper)

    # -- sending -----------------------------------------------------------------------------------

    async def send(self, sendings: Iterable[Sending]) -> None:
        """Send all, a few at a time, until each is answered."""
        waiting = iter(list(sendings))

        async def sender() -> None:
            for sending in waiting:
                await self._send(sending)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(sender())

    async def ask(self, order: Order) -> PaymentSeen:
        """POST an order until it is answered."""
        seen = PaymentSeen.model_validate_json(await self.app.post(order.path, order.body, order.key))
        self.model.answered(order, seen)
        return seen

    async def _send(self, sending: Sending) -> None:
        copies = COPIES if sending.repeat is Repeat.AT_ONCE else 1
        await asyncio.gather(*(self.ask(sending.order) for _ in range(copies)))
        if sending.repeat is Repeat.LATER:
            await self.ask(sending.order)
        self._answers += 1
        async with self._answered:
            self._answered.notify_all()

    async def until_answered(self, more: int) -> None:
        """Wait until so many more payments are answered than at the time of the call."""
        goal = self._answers + more
        async with self._answered:
            await self._answered.wait_for(lambda: self._answers >= goal)

    # -- looking -----------------------------------------------------------------------------------

    async def look(self, transaction_id: str, *, wait: int = 0) -> PaymentSeen:
        """GET a payment."""
        seen = PaymentSeen.model_validate_json(await self.app.get(f"/v1/transactions/{transaction_id}?wait={wait}"))
        self.model.looked_at(seen)
        return seen

    async def until_final(self, seconds: float = 180.0) -> None:
        """Wait until every payment has ended. Raises TimeoutError."""
        turn = asyncio.Semaphore(AT_ONCE)

        async def follow(transaction_id: str) -> None:
            async with turn:
                while (await self.look(transaction_id, wait=20)).end is None:
                    pass

        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(follow, self.model.open))
        except TimeoutError as error:
            raise AssertionError(f"not ended within {seconds:g} s: {self.model.open}") from error
        self.model.check_ends()


def _any_key() -> str:
    return uuid4().hex
