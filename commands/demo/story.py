"""`sagapay demo`: a dozen people move money through the REST API, and a bank misbehaves on the way."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from bank_adapters.simulator.client import BankAdmin
from bank_adapters.simulator.faults import FaultKind, Operation
from commands.demo.client import AppClient, DemoFailedError, PaymentView, Person
from commands.prepare import DEVELOPMENT_FILE
from commands.verify import compare_books, verify_all
from domain.money import format_minor
from infra.settings import Settings

PEOPLE = ("Ada", "Ben", "Chloe", "Dev", "Elif", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Kim", "Lea")
DEPOSIT = 200_00
TRANSFERS = 120
AT_ONCE = 8


class Story:
    """The scenario, told as it happens."""

    def __init__(self, app: AppClient, bank: BankAdmin, console: Console) -> None:
        self._app = app
        self._bank = bank
        self._console = console
        self._began = time.monotonic()
        self.people: list[Person] = []

    def say(self, text: str) -> None:
        """One line, with the seconds since the beginning."""
        self._console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/]  {text}", highlight=False)

    async def open_wallets(self) -> None:
        """Everybody opens a wallet and links a bank account."""
        self.people = list(await asyncio.gather(*(self._join(name) for name in PEOPLE)))
        self.say(f"{len(self.people)} people opened a wallet and linked a bank account: {', '.join(PEOPLE)}")

    async def _join(self, name: str) -> Person:
        user = orjson.loads(await self._app.post("/v1/users", {"name": name, "email": f"{name.lower()}@example.com"}))
        link = orjson.loads(await self._app.post("/v1/bank-links", {"user_id": user["user_id"]}))
        approval = await self._bank.approve(link["link_token"], holder_name=name, opening_balance=1_000_00)
        account = orjson.loads(
            await self._app.post(
                "/v1/bank-accounts", {"user_id": user["user_id"], "public_token": approval.public_token}
            )
        )
        return Person(name, user["user_id"], user["wallet_id"], account["bank_account_id"])

    async def deposit(self) -> None:
        """Everybody but the last two brings money."""
        depositors = self.people[:-2]
        accepted = await asyncio.gather(*(self._bank_payment("/v1/deposits", person, DEPOSIT) for person in depositors))
        final = await asyncio.gather(*(self._app.payment(p.transaction_id, wait_seconds=30) for p in accepted))
        self.say(
            f"{len(final)} deposits of {_usd(DEPOSIT)}: {_counted(final)}; {self.people[-2].name} and "
            f"{self.people[-1].name} bring nothing"
        )

    async def storm(self) -> None:
        """Many transfers at once, every tenth sent twice under one key, and some without funds."""
        chance = random.Random(7)  # noqa: S311  -- the same story every time
        orders = []
        for number in range(TRANSFERS):
            sender, receiver = chance.sample(self.people, 2)
            body: dict[str, str | int] = {
                "sender_id": sender.wallet_id,
                "receiver_id": receiver.user_id,
                "amount": chance.randint(1_00, 40_00),
                "currency": "USD",
                "memo": f"storm {number}",
            }
            key = f"storm-{self._began}-{number}"
            orders += [(body, key)] * (2 if number % 10 == 0 else 1)
        chance.shuffle(orders)
        turn = asyncio.Semaphore(AT_ONCE)

        async def send(body: dict[str, str | int], key: str) -> PaymentView:
            async with turn:
                return await self._app.pay("/v1/transfers", body, key)

        start, replays_before = time.monotonic(), self._app.replayed
        answers = await asyncio.gather(*(send(body, key) for body, key in orders))
        rate = len(answers) / (time.monotonic() - start)
        different = {answer.transaction_id: answer for answer in answers}
        self.say(
            f"a storm: {len(answers)} requests, {AT_ONCE} at a time, {rate:.0f}/s: {len(different)} transactions "
            f"({_counted(different.values())}), {self._app.replayed - replays_before} recognised as sent twice"
        )
        if len(different) != TRANSFERS:
            raise DemoFailedError(f"{TRANSFERS} transfers were asked for, {len(different)} were made")

    async def refused_withdrawal(self, person: Person) -> None:
        """The bank says no: the money is where it was."""
        await self._bank.set_fault(FaultKind.REFUSE, operation=Operation.PUSH, times=1, code="R03")
        self.say(f"{person.name} withdraws {_usd(10_00)}; the bank is going to refuse")
        await self._watch(person, 10_00, expect="failed")

    async def timed_out_withdrawal(self, person: Person) -> None:
        """The bank pays and then says nothing: it is asked by reference, and the money moves once."""
        await self._bank.set_fault(FaultKind.TIMEOUT_AFTER, operation=Operation.PUSH, times=1)
        self.say(f"{person.name} withdraws {_usd(20_00)}; the bank is going to pay and then time out")
        await self._watch(person, 20_00, expect="succeeded")

    async def withdrawal_from_a_bank_that_is_down(self, person: Person) -> None:
        """The bank is down: the payment waits, and completes when the bank is back."""
        await self._bank.set_fault(FaultKind.DOWN, operation=Operation.ANY)
        self.say(f"the bank goes down; {person.name} withdraws {_usd(30_00)}")
        payment = await self._bank_payment("/v1/withdrawals", person, 30_00)
        for _ in range(2):
            await asyncio.sleep(1.5)
            seen = await self._app.payment(payment.transaction_id)
            held = (await self._app.wallet(person.wallet_id)).balance.held
            self.say(f"   {seen.status}, {_usd(held)} held")
        await self._bank.clear_faults()
        self.say("   the bank is back")
        await self._finish(person, payment, expect="succeeded")

    async def _watch(self, person: Person, amount: int, *, expect: str) -> None:
        payment = await self._bank_payment("/v1/withdrawals", person, amount)
        self.say(f"   accepted, {payment.status}")
        await self._finish(person, payment, expect=expect)

    async def _finish(self, person: Person, payment: PaymentView, *, expect: str) -> None:
        final = await self._app.payment(payment.transaction_id, wait_seconds=30)
        balance = (await self._app.wallet(person.wallet_id)).balance
        why = f" ({final.failure.code}: {final.failure.detail})" if final.failure else ""
        color = "green" if final.status == "succeeded" else "yellow"
        self.say(f"   [{color}]{final.status}[/]{why}; {person.name} has {_usd(balance.posted)}")
        if final.status != expect:
            raise DemoFailedError(f"{payment.transaction_id} should have {expect}, it is {final.status}")

    async def _bank_payment(self, path: str, person: Person, amount: int) -> PaymentView:
        return await self._app.pay(
            path,
            {
                "wallet_id": person.wallet_id,
                "bank_account_id": person.bank_account_id,
                "amount": amount,
                "currency": "USD",
            },
        )

    async def richest(self, number: int) -> list[Person]:
        """Those who can afford to withdraw."""
        balances = {p: (await self._app.wallet(p.wallet_id)).balance.available for p in self.people}
        return sorted(self.people, key=balances.__getitem__, reverse=True)[:number]

    async def balances(self) -> None:
        """Who has what."""
        table = Table("", "posted", "held", "available", title="Balances", title_justify="left")
        total = 0
        for person in self.people:
            balance = (await self._app.wallet(person.wallet_id)).balance
            total += balance.posted
            table.add_row(person.name, _usd(balance.posted), _usd(balance.held), _usd(balance.available))
        table.add_section()
        table.add_row("together", _usd(total), "", "")
        self._console.print(table)


async def tell(settings: Settings, console: Console) -> int:
    """Play the whole scenario on the running platform; 0 if everything went as it should."""
    keys_file = settings.state_dir / DEVELOPMENT_FILE
    if not await asyncio.to_thread(keys_file.exists):
        console.print("The platform does not run here: start it with `make up`.")
        return 1
    keys = orjson.loads(await asyncio.to_thread(keys_file.read_bytes))
    url = f"http://{settings.api_host}:{settings.api_port}"
    try:
        async with AppClient(url, keys["app_key"]) as app, BankAdmin(settings.bank_url) as bank:
            story = Story(app, bank, console)
            await _play(story, bank)
            await story.balances()
    except (httpx.TransportError, DemoFailedError) as error:
        console.print(f"[red]The demo stopped:[/] {error}", soft_wrap=True)
        return 1
    await compare_books(settings, console)
    clean = await verify_all(settings, console)
    console.print(
        f"Payments are workflows: look at {settings.temporal_ui_url} (try the query "
        "[bold]TransactionKind = 'withdrawal'[/]). The API is at "
        f"{url}/docs; the platform stays up, `make down` stops it."
    )
    return 0 if clean else 1


async def _play(story: Story, bank: BankAdmin) -> None:
    await bank.clear_faults()
    await story.open_wallets()
    await story.deposit()
    await story.storm()
    refused, timed_out, waiting = await story.richest(3)
    await story.refused_withdrawal(refused)
    await story.timed_out_withdrawal(timed_out)
    await story.withdrawal_from_a_bank_that_is_down(waiting)


def _counted(payments: Iterable[PaymentView]) -> str:
    counts = Counter(payment.failure.code if payment.failure else payment.status for payment in payments)
    return ", ".join(f"{count} {status}" for status, count in counts.most_common())


def _usd(minor_units: int) -> str:
    return format_minor(minor_units, "USD")
