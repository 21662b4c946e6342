"""What happened reaches the people whom it concerns, by e-mail to a real server: through the outbox and the broker."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from domain.contracts.wallets import ChangeKind
from domain.notifications import ChannelName, NotificationKind
from domain.transactions import Step
from events.notification_preferences import prefer
from infra.database import make_engine
from ledger.local import LocalLedger
from tests.events.mail_server import MailServer, mail_server
from tests.events.people import People, Someone
from tests.events.stage import Stage, eventually, staged
from tests.money.requests import change_wallet
from tests.money.scratch import Databases
from tests.stack.servers import Servers


@pytest.fixture(scope="module")
def stage(databases: Databases, bare_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home: Path = tmp_path_factory.mktemp("notifications")
    with databases.copy() as database, staged([database], bare_servers.settings, home) as made:
        made.start_broker()
        yield made


@pytest.fixture(scope="module")
async def people(stage: Stage) -> AsyncIterator[People]:
    ledger = LocalLedger(stage.settings)
    made = await People.of(stage.settings, ledger)
    yield made
    await made.aclose()
    await ledger.aclose()


@pytest.fixture(scope="module")
async def post(stage: Stage) -> AsyncIterator[MailServer]:
    """Where everything goes that the roles of this module send."""
    async with mail_server() as server, stage.relay(), stage.consumers(**server.settings()):
        yield server


def told(post: MailServer, someone: Someone) -> list[str]:
    """The subjects of what they got, sorted."""
    return sorted(mail["Subject"] for mail in post.mails if mail["To"] == someone.email)


def count(stage: Stage, status: str, someone: Someone) -> int:
    """Messages for them that are waiting, sent or given up."""
    query = (
        f"SELECT count(*) FROM notifications.messages WHERE status = '{status}' AND user_id = '{someone.user_id.uuid}'"
    )
    return int(str(stage.ask(query)[0][0]))


async def until_sent(stage: Stage, someone: Someone, number: int) -> None:
    """Wait until so many messages for them are marked."""
    await eventually(lambda: count(stage, "sent", someone) >= number, f"{number} mails to {someone.name}")


async def test_everybody_is_told_of_their_own_side_of_what_happened(
    stage: Stage, people: People, post: MailServer
) -> None:
    client = people.client
    zora, bob = await people.add("Zora", balance=100_000), await people.add("Bøb", "bob@example.com")
    paid = await client.transfer(zora.wallet_id, bob.wallet_id, 2_500)
    await client.transfer(zora.wallet_id, bob.wallet_id, 99_999_999)
    await client.withdraw(zora.wallet_id, 1_000)
    returned = await client.deposit(zora.wallet_id, 700)
    await client.take_back(returned, Step.RETURN_DEPOSIT)
    await change_wallet(client.ledger, bob.wallet_id, ChangeKind.FREEZE, debits=True, credits=True)
    await until_sent(stage, zora, 6)
    await until_sent(stage, bob, 2)
    assert told(post, zora) == [
        "1,000.00 USD came in from your bank account",
        "10.00 USD went out to your bank account",
        "7.00 USD came in from your bank account",
        "You paid 25.00 USD",
        "Your bank returned your deposit of 7.00 USD",
        "Your payment of 999,999.99 USD was not made",
    ]
    assert told(post, bob) == ["You received 25.00 USD", "Your wallet is frozen"]
    assert len(set(post.ids())) == len(post.mails)
    received = next(mail for mail in post.mails if (mail["To"], mail["Subject"][:3]) == (bob.email, "You"))
    assert received.get_content().splitlines()[:3] == ["Hello Bøb,", "", "You received 25.00 USD."]
    assert paid.transaction_id in received.get_content()
    whole = received.as_string().lower() + received.get_content().lower()
    assert [word for word in (zora.name, zora.email, zora.wallet_id, zora.user_id) if word.lower() in whole] == []


async def test_nobody_is_told_what_they_do_not_want(stage: Stage, people: People, post: MailServer) -> None:
    engine = make_engine(stage.settings.shard_urls[0], stage.settings)
    ann, bob = await people.add("Ann", balance=10_000), await people.add("Bob")
    await prefer(engine, bob.user_id, [(NotificationKind.PAYMENT_RECEIVED, ChannelName.EMAIL)])
    await people.client.transfer(ann.wallet_id, bob.wallet_id, 100)
    await until_sent(stage, ann, 2)
    assert told(post, bob) == []
    assert count(stage, "waiting", bob) == 0, "it is not even stored"
    await prefer(engine, bob.user_id, [(NotificationKind.PAYMENT_RECEIVED, ChannelName.SMS)])
    await people.client.transfer(ann.wallet_id, bob.wallet_id, 200)
    await until_sent(stage, bob, 1)
    await engine.dispose()
    assert told(post, bob) == ["You received 2.00 USD"]


async def test_an_event_that_comes_again_is_told_once(stage: Stage, people: People, post: MailServer) -> None:
    ann = await people.add("Ann", balance=10_000)
    await until_sent(stage, ann, 1)
    with stage.connect() as connection:
        connection.execute("""
            UPDATE ledger.consumer_positions SET xid = '0', id = 0, missing_since = now()
            WHERE consumer = 'notifications'""")
    await people.client.deposit(ann.wallet_id, 500)
    await eventually(lambda: _waiting(stage) == 0, "every event to be heard again")
    await until_sent(stage, ann, 2)
    assert told(post, ann) == [
        "100.00 USD came in from your bank account",
        "5.00 USD came in from your bank account",
    ]


async def test_a_mail_server_that_is_down_stops_nobody_and_gets_everything_later(
    stage: Stage, people: People, post: MailServer
) -> None:
    await post.stop()
    ann = await people.add("Ann", balance=10_000)
    await people.client.withdraw(ann.wallet_id, 100)
    await eventually(lambda: count(stage, "waiting", ann) == 2, "the consumer to store what is to be sent")
    await eventually(lambda: _waiting(stage) == 0, "all consumers to have everything")
    await eventually(lambda: f"port {post.port}" in _reason(stage, ann), "somebody to try in vain")
    await post.start()
    await until_sent(stage, ann, 2)
    assert told(post, ann) == ["1.00 USD went out to your bank account", "100.00 USD came in from your bank account"]


def _reason(stage: Stage, someone: Someone) -> str:
    query = f"SELECT max(reason) FROM notifications.messages WHERE user_id = '{someone.user_id.uuid}'"
    return str(stage.ask(query)[0][0])


def _waiting(stage: Stage) -> int:
    """Events that some consumer has not confirmed."""
    rows = stage.ask("""
        SELECT count(*) FROM ledger.outbox o JOIN ledger.consumer_positions c USING (topic, lane)
        WHERE (o.xid, o.id) > (c.xid, c.id)""")
    return int(str(rows[0][0]))
