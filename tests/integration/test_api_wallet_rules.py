"""Freezing, limiting and closing wallets over the API and from the command line."""

import io

import pytest
from rich.console import Console

from commands import wallets
from domain.contracts.wallets import ChangeKind, WalletLimits
from domain.errors import NotFound
from domain.ids import WalletId
from tests.integration.test_api_idempotency import firsts
from tests.rest.stage import Caller, Person, Stage, new_key

REASON = {"reason": "A test"}


def wallet(person: Person, call: str = "") -> str:
    """The path of a wallet, or of something that is done with it."""
    return f"/v1/wallets/{person.wallet_id}{call}"


async def put_limits(caller: Caller, person: Person, **limits: int) -> tuple[int, dict[str, object]]:
    """PUT both limits; the status and the body of the answer."""
    response = await caller.http.put(wallet(person, "/limits"), json=REASON | limits)
    return response.status_code, response.json()


async def failure(rest: Stage, sender: Person, receiver: Person, amount: int) -> str | None:
    """Why a transfer is decided against."""
    body = rest.transfer_body(sender, receiver, amount)
    return (await rest.app.post("/v1/transfers", body)).json().get("failure", {}).get("code")  # type: ignore[no-any-return]


async def test_one_side_is_frozen_and_thawed(rest: Stage) -> None:
    person, other = await rest.funded(1_000), await rest.funded(1_000)
    frozen = await rest.operator.post(wallet(person, "/freeze"), REASON | {"credits": False})
    assert (frozen.json()["status"], frozen.json()["frozen"]) == ("frozen", {"debits": True, "credits": False})
    assert await failure(rest, person, other, 1) == "wallet_frozen"
    assert await failure(rest, other, person, 1) is None
    seen = await rest.app.get(wallet(person), consistency="eventual")
    assert seen.json()["frozen"] == frozen.json()["frozen"]
    thawed = await rest.operator.post(wallet(person, "/unfreeze"), REASON)
    assert (thawed.json()["status"], thawed.json()["frozen"]) == ("active", {"debits": False, "credits": False})
    assert (await rest.app.get(wallet(person), consistency="eventual")).json()["status"] == "active"
    assert await failure(rest, person, other, 1) is None


async def test_limits_are_shown_and_kept(rest: Stage) -> None:
    person, other = await rest.funded(1_000), await rest.person()
    assert (await put_limits(rest.operator, person, per_transaction=60, daily=100))[0] == 200
    assert [await failure(rest, person, other, amount) for amount in (61, 60, 41, 40)] == [
        "limit_per_transaction_exceeded",
        None,
        "limit_daily_exceeded",
        None,
    ]
    limits = (await rest.app.get(wallet(person))).json()["limits"]
    assert {name: limits[name] for name in ("per_transaction", "daily", "spent")} == {
        "per_transaction": 60,
        "daily": 100,
        "spent": 100,
    }
    assert limits["spent_on"]
    status, changed = await put_limits(rest.operator, person, daily=300)
    assert (status, "per_transaction" in changed["limits"]) == (200, False)  # type: ignore[operator]
    assert await failure(rest, person, other, 200) is None


async def test_a_wallet_is_closed_when_it_is_empty_and_for_ever(rest: Stage) -> None:
    person, other = await rest.funded(10), await rest.person()
    refused = await rest.operator.post(wallet(person, "/close"), REASON)
    assert (refused.status_code, refused.json()["code"]) == (409, "wallet_in_use")
    assert await failure(rest, person, other, 10) is None
    key = new_key()
    closed = [await rest.operator.post(wallet(person, "/close"), REASON, key) for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in closed] == [(200, "closed")] * 2
    assert firsts(closed) == 1
    for call in ("/freeze", "/unfreeze"):
        answer = await rest.operator.post(wallet(person, call), REASON)
        assert (answer.status_code, answer.json()["code"]) == (409, "cannot_change_wallet")
    assert (await put_limits(rest.operator, person, daily=1))[0] == 409
    assert await failure(rest, other, person, 10) == "wallet_closed"


async def test_a_change_is_made_once_for_its_key(rest: Stage) -> None:
    person, key = await rest.person(), new_key()
    answers = [await rest.operator.post(wallet(person, "/freeze"), REASON, key) for _ in range(3)]
    await rest.operator.post(wallet(person, "/unfreeze"), REASON)
    answers.append(await rest.operator.post(wallet(person, "/freeze"), REASON, key))
    assert firsts(answers) == 1
    assert answers[-1].json()["status"] == "active"
    for call, body in (("/freeze", REASON | {"debits": False}), ("/unfreeze", REASON), ("/close", REASON)):
        reused = await rest.operator.post(wallet(person, call), body, key)
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_only_operators_change_rules_and_say_why(rest: Stage) -> None:
    person = await rest.person()
    for call in ("/freeze", "/unfreeze", "/close"):
        assert (await rest.app.post(wallet(person, call), REASON)).status_code == 403
        assert (await rest.operator.post(wallet(person, call), {})).json()["code"] == "invalid_request"
        assert (await rest.operator.post(wallet(person, call), REASON, "")).json()["code"] == "idempotency_key_missing"
    assert (await put_limits(rest.app, person))[0] == 403
    for wrong in (0, -1):
        assert (await put_limits(rest.operator, person, daily=wrong))[0] == 400
    assert (await rest.app.get(wallet(person))).json()["status"] == "active"


async def test_the_command_line_does_the_same(rest: Stage) -> None:
    person = await rest.funded(1_000)

    async def run(kind: ChangeKind, only: str | None = None, limits: WalletLimits | None = None) -> str:
        console = Console(file=io.StringIO(), width=200)
        wanted = wallets.asked_here(kind, "a test", only=only, limits=limits)
        await wallets.change(rest.settings, console, person.wallet_id, wanted)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "frozen" in await run(ChangeKind.FREEZE, only="credits")
    assert "20.00 USD" in await run(ChangeKind.LIMIT, limits=WalletLimits(daily=2_000))
    found = (await rest.app.get(wallet(person))).json()
    assert (found["frozen"], found["limits"]["daily"]) == ({"debits": False, "credits": True}, 2_000)
    console = Console(file=io.StringIO(), width=200)
    await wallets.show(rest.settings, console, person.wallet_id)
    assert isinstance(console.file, io.StringIO)
    assert all(word in console.file.getvalue() for word in ("credits", "10.00 USD", "20.00 USD", person.user_id))
    with pytest.raises(NotFound):
        await wallets.show(rest.settings, console, WalletId.new(1))
