"""Debts written off over the API and from the command line: asked by one operator, approved by another."""

import io

from rich.console import Console

from commands import write_offs as commands
from commands.attention import CallRefused, OperatorsApi
from domain.ids import WalletId
from tests.integration.test_api_idempotency import firsts
from tests.money.requests import Client as App
from tests.money.write_offs import owe
from tests.rest.stage import Caller, Stage, new_key

BODY = {"reason": "Nothing will come", "evidence": "case 12"}
AGREED = {"reason": "Seen the letter"}


async def owing(rest: Stage, owed: int) -> str:
    """A wallet with nothing in it that owes so much."""
    wallet = WalletId((await rest.person()).wallet_id)
    await owe(App(rest.backends.ledger, rest.client_id), wallet, owed)
    return wallet


async def test_one_operator_asks_and_another_one_approves(rest: Stage, second_operator: Caller) -> None:
    wallet, key = await owing(rest, 300), new_key()
    answers = [await rest.operator.post(f"/v1/wallets/{wallet}/write-offs", BODY, key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    assert firsts(answers) == 1
    asked = answers[0].json()
    assert (asked["state"], asked["amount"], asked["currency"]) == ("asked", 300, "USD")
    path = f"/v1/write-offs/{asked['write_off_id']}"
    alone = await rest.operator.post(f"{path}/approve", AGREED)
    assert (alone.status_code, alone.json()["code"]) == (409, "cannot_approve")
    seen = await rest.app.get(f"/v1/wallets/{wallet}", consistency="eventual")
    assert seen.json()["owed"] == 300
    done = [await second_operator.post(f"{path}/approve", AGREED) for _ in range(2)]
    assert [(each.status_code, each.json()["written_off"]) for each in done] == [(200, 300)] * 2
    seen = await rest.app.get(f"/v1/wallets/{wallet}", consistency="eventual")
    assert "owed" not in seen.json() or seen.json()["owed"] == 0
    late = await rest.operator.post(f"{path}/withdraw", AGREED)
    assert (late.status_code, late.json()["code"]) == (409, "cannot_approve")


async def test_what_cannot_be_is_refused(rest: Stage) -> None:
    wallet = await owing(rest, 300)
    path = f"/v1/wallets/{wallet}/write-offs"
    more = await rest.operator.post(path, BODY | {"amount": 301})
    assert (more.status_code, more.json()["code"]) == (409, "cannot_write_off")
    assert "owes 3.00 USD" in more.json()["detail"]
    for wrong in (BODY | {"amount": 0}, BODY | {"evidence": ""}, AGREED):
        assert (await rest.operator.post(path, wrong)).status_code == 400
    assert (await rest.app.post(path, BODY)).status_code == 403
    assert (await rest.app.get("/v1/write-offs")).status_code == 403
    key = new_key()
    assert (await rest.operator.post(path, BODY | {"amount": 10}, key)).status_code == 201
    reused = await rest.operator.post(path, BODY | {"amount": 20}, key)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    nobodys = f"/v1/wallets/{WalletId.new(7)}/write-offs"
    assert (await rest.operator.post(nobodys, BODY)).status_code == 404


async def test_they_are_listed_and_ended_from_the_command_line(rest: Stage, second_operator: Caller) -> None:
    wallet, out = await owing(rest, 300), Console(file=io.StringIO(), width=250)
    maria, john = OperatorsApi(rest.operator.http), OperatorsApi(second_operator.http)
    for amount in (100, 50, 25):
        await commands.ask(maria, out, wallet, BODY | {"amount": amount})
    pages, cursor = [], {}
    while True:
        page = (await rest.operator.get("/v1/write-offs", wallet_id=wallet, limit=2, **cursor)).json()
        pages.append([each["amount"] for each in page["write_offs"]])
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [[100, 50], [25]]
    first, second, third = [each["write_off_id"] async for each in maria.write_offs({"wallet_id": wallet})]
    await commands.end(john, out, first, "approve", "seen")
    await commands.end(maria, out, second, "withdraw", "a mistake")
    try:
        await commands.end(maria, out, third, "approve", "alone")
    except CallRefused as refused:
        out.print(refused.detail)
    await commands.show_list(john, out, {"wallet_id": wallet, "waiting": "true"})
    printed = out.file.getvalue()  # type: ignore[attr-defined]
    assert f"{first} is approved: 1.00 USD written off" in printed
    assert f"{second} is withdrawn: nothing written off" in printed
    assert "cannot_approve" in printed
    assert [name in printed.rpartition("asked by")[2] for name in (first, second, third)] == [False, False, True]
