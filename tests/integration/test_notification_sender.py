"""From the table of what is to be sent to a real mail server: refusals, retries, outages, and two senders at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.events import Envelope
from domain.ids import EventId
from domain.notifications import ChannelName
from domain.transactions import TransactionKind
from events.notification_channels import Channel, ChannelDown, Message, Recipient
from events.notification_messages import Messages
from events.notification_sender import Keeper, Sender, open_channels
from events.notifications import Notifications
from infra.database import make_engine, transaction
from infra.role import Life
from infra.settings import Settings
from ledger.local import LocalLedger
from tests.events.certificates import certified
from tests.events.mail_server import MailServer, mail_server
from tests.events.outbox_rows import transaction_event
from tests.events.people import People, Someone
from tests.money.scratch import Database, Databases
from tests.stack.servers import Servers

GIVE_UP_SECONDS = 86_400.0
STATE = "SELECT address, status, attempts, reason FROM notifications.messages ORDER BY address"


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    with databases.copy() as made:
        yield made


@pytest.fixture
def settings(database: Database, bare_servers: Servers) -> Settings:
    return database.settings(bare_servers.settings)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    made = make_engine(settings.shard_urls[0], settings)
    yield made
    await made.dispose()


@pytest.fixture
async def people(settings: Settings) -> AsyncIterator[People]:
    ledger = LocalLedger(settings)
    made = await People.of(settings, ledger)
    yield made
    await made.aclose()
    await ledger.aclose()


@pytest.fixture
async def post() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


class Office:
    """A consumer and its senders, driven by hand."""

    def __init__(self, engine: AsyncEngine, settings: Settings, channels: Sequence[Channel] | None = None) -> None:
        self._engine, self._settings = engine, settings
        self._channels = open_channels(settings) if channels is None else channels
        self.messages = Messages(engine, GIVE_UP_SECONDS)

    async def hear(self, *someones: Someone, age: timedelta = timedelta()) -> list[Envelope]:
        """A deposit for each of them was told so long ago."""
        envelopes = [_envelope(someone, datetime.now(UTC) - age) for someone in someones]
        async with transaction(self._engine) as connection:
            await Notifications(self._channels, GIVE_UP_SECONDS).apply(connection, envelopes)
        return envelopes

    def sender(self, life: Life | None = None) -> Sender:
        """One more sender over the first channel."""
        return Sender(self._channels[0], self.messages, self._settings, life or Life())

    def keeper(self) -> Keeper:
        """Who gives up and forgets."""
        return Keeper(self.messages, self._settings, Life())


def _envelope(someone: Someone, time: datetime) -> Envelope:
    row = transaction_event(kind=TransactionKind.DEPOSIT, receiver=someone.wallet_id)
    return Envelope(id=EventId.new(0), type=row.kind, time=time, shard=0, key=row.key, position="1/1", data=row.event)


def state(database: Database) -> list[tuple[str, str, int, str | None]]:
    """Address, status, attempts and reason of every message."""
    with database.connect() as connection:
        return connection.execute(STATE.encode()).fetchall()


def make_due(database: Database) -> None:
    """Nobody waits for the next attempt any more."""
    with database.connect() as connection:
        connection.execute("UPDATE notifications.messages SET due_at = now() WHERE status = 'waiting'")


def with_mail(settings: Settings, post: MailServer, **more: object) -> Settings:
    return settings.model_copy(update=post.settings(**more))


async def test_what_can_never_be_delivered_is_given_up_with_the_reason(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    post.answers["a@example.com"] = ["550 5.1.1 <a@example.com> is nobody here"]
    office = Office(engine, with_mail(settings, post))
    addresses = ["a@example.com", "b@", "c@example.com", "d@one two", "e@example.com\r\nBcc: all@example.com", "nobody"]
    await office.hear(*[await people.add("Someone", address) for address in addresses])
    assert await office.sender().send_due() == len(addresses)
    malformed = "the address is malformed"
    assert state(database) == [
        ("a@example.com", "given_up", 1, "550 5.1.1 <…> is nobody here"),
        ("b@", "given_up", 1, malformed),
        ("c@example.com", "sent", 1, None),
        ("d@one two", "given_up", 1, malformed),
        ("e@example.com\r\nBcc: all@example.com", "given_up", 1, malformed),
        ("nobody", "given_up", 1, malformed),
    ]
    assert [mail["To"] for mail in post.mails] == ["c@example.com"]


async def test_what_is_not_taken_is_tried_again_later_and_holds_up_nobody(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    post.answers["a@example.com"] = ["450 4.2.1 come again", "451 4.3.0 and again"]
    office = Office(engine, with_mail(settings, post))
    await office.hear(await people.add("Ann", "a@example.com"), await people.add("Bob", "b@example.com"))
    sender = office.sender()
    await sender.send_due()
    assert state(database)[0] == ("a@example.com", "waiting", 1, "450 4.2.1 come again")
    assert [mail["To"] for mail in post.mails] == ["b@example.com"]
    assert await sender.send_due() == 0, "it is not due"
    waits = []
    for _ in range(2):
        with database.connect() as connection:
            query = (
                "SELECT extract(epoch FROM due_at - now())::float FROM notifications.messages WHERE status = 'waiting'"
            )
            waits.extend(connection.execute(query).fetchall()[0])
        make_due(database)
        await sender.send_due()
    first = settings.notification_retry_seconds
    assert first / 2 < waits[0] <= first < waits[1] <= 2 * first
    assert state(database)[0] == ("a@example.com", "sent", 3, None)


async def test_a_server_that_is_down_costs_no_attempt(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    office = Office(engine, with_mail(settings, post))
    await post.stop()
    await office.hear(await people.add("Ann", "a@example.com"))
    sender = office.sender()
    for _ in range(3):
        with pytest.raises(ChannelDown):
            await sender.send_due()
    ((_, status, attempts, reason),) = state(database)
    assert (status, attempts) == ("waiting", 0)
    assert reason is not None
    assert f"port {post.port}" in reason
    await post.start()
    assert await sender.send_due() == 1, "it is due at once"
    assert state(database) == [("a@example.com", "sent", 1, None)]


@pytest.mark.slow  # It waits for two time-outs, which have to be long enough for a busy machine to connect in.
async def test_a_server_that_hangs_is_left_and_the_others_are_put_back(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    """It has the first mail whole and never says so: that one is tried later, the other at once."""
    post.before_taking = asyncio.Event().wait
    office = Office(engine, with_mail(settings, post, smtp_timeout_seconds=3.0))
    await office.hear(await people.add("Ann", "a@example.com"), age=timedelta(seconds=60))
    await office.hear(await people.add("Bob", "b@example.com"))
    with pytest.raises(ChannelDown):
        await office.sender().send_due()
    assert [(address, status, attempts) for address, status, attempts, _ in state(database)] == [
        ("a@example.com", "waiting", 1),
        ("b@example.com", "waiting", 0),
    ]
    post.before_taking = None
    patient = Office(engine, with_mail(settings, post))
    assert await patient.sender().send_due() == 1
    make_due(database)
    assert await patient.sender().send_due() == 1
    assert [status for _, status, *_ in state(database)] == ["sent", "sent"]
    assert [mail["To"] for mail in post.mails] == ["a@example.com", "b@example.com", "a@example.com"]
    assert post.mails[0].as_bytes() == post.mails[2].as_bytes(), "the same mail, which its reader's server knows again"


async def test_a_mail_that_cuts_the_connection_each_time_does_not_stop_the_others(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    post.answers["a@example.com"] = ["421 4.3.0 closing"]
    office = Office(engine, with_mail(settings, post))
    await office.hear(await people.add("Ann", "a@example.com"), age=timedelta(seconds=60))
    await office.hear(await people.add("Bob", "b@example.com"))
    sender = office.sender()
    with pytest.raises(ChannelDown):
        await sender.send_due()
    assert await sender.send_due() == 1
    assert [mail["To"] for mail in post.mails] == ["b@example.com"]


async def test_what_is_too_old_is_given_up_and_sent_no_more(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    office = Office(engine, with_mail(settings, post))
    ann, bob, cleo = [await people.add(name, f"{name}@example.com") for name in ("ann", "bob", "cleo")]
    await office.hear(ann, bob)
    await office.hear(cleo, age=timedelta(days=1, seconds=1))
    with database.connect() as connection:
        connection.execute("UPDATE notifications.messages SET event_time = event_time - interval '1 day'")
        connection.execute("UPDATE notifications.messages SET reason = 'no route' WHERE address = 'bob@example.com'")
    assert await office.sender().send_due() == 0
    await office.keeper().keep()
    assert state(database) == [
        ("ann@example.com", "given_up", 0, "not sent in time: it was not tried"),
        ("bob@example.com", "given_up", 0, "not sent in time: no route"),
    ]
    with database.connect() as connection:
        connection.execute("UPDATE notifications.messages SET settled_at = now() - interval '31 days'")
    await office.keeper().keep()
    assert state(database) == []
    assert post.mails == []


async def test_an_operator_finds_what_was_given_up_and_has_it_tried_again(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    page = (Path(__file__).parents[2] / "docs/operations/notifications.md").read_text()
    find, again = (block.split("```")[0] for block in page.split("```sql\n")[1:])
    post.answers["a@example.com"] = ["550 nobody here"]
    office = Office(engine, with_mail(settings, post))
    await office.hear(await people.add("Ann", "a@example.com"))
    await office.sender().send_due()
    with database.connect("sagapay_app") as connection:
        ((_, kind, channel, _, attempts, _, reason),) = connection.execute(find.encode()).fetchall()
        assert (kind, channel, attempts, reason) == ("deposit_completed", "email", 1, "550 nobody here")
        connection.execute(again.encode())
    assert await office.sender().send_due() == 1
    assert state(database) == [("a@example.com", "sent", 2, None)]


async def test_senders_side_by_side_send_each_mail_once(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    office = Office(engine, with_mail(settings, post))
    everybody = [await people.add("Someone") for _ in range(35)]
    await office.hear(*everybody)
    senders = [office.sender() for _ in range(3)]
    while sum(await asyncio.gather(*(sender.send_due() for sender in senders))):
        pass
    assert sorted(mail["To"] for mail in post.mails) == sorted(someone.email for someone in everybody)
    assert {status for _, status, *_ in state(database)} == {"sent"}


async def test_a_sender_that_is_asked_to_end_leaves_the_rest_to_others(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    life = Life()

    async def end() -> None:
        life.stop()

    post.before_taking = end
    office = Office(engine, with_mail(settings, post))
    await office.hear(*[await people.add("Someone") for _ in range(3)])
    await office.sender(life).run()
    assert sorted(status for _, status, *_ in state(database)) == ["sent", "waiting", "waiting"]
    assert await office.sender().send_due() == 2


async def test_mail_goes_over_tls_with_a_name_and_a_password(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, tmp_path: Path
) -> None:
    certificate, context = certified(tmp_path, "127.0.0.1")
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    own = {"smtp_security": "starttls", "smtp_username": "sagapay", "smtp_password_file": password}
    async with mail_server(context, ("sagapay", "open sesame")) as post:
        office = Office(engine, with_mail(settings, post, smtp_ca_file=certificate, **own))
        await office.hear(await people.add("Ann", "a@example.com"))
        stranger = Office(engine, with_mail(settings, post, **own))
        with pytest.raises(ChannelDown, match=r"(?i)certificate"):
            await stranger.sender().send_due()
        assert await office.sender().send_due() == 1
        assert post.logins == 1
    assert state(database) == [("a@example.com", "sent", 1, None)]


class Push:
    """A channel of another kind, whose people are known by their ids. It stumbles over Bob."""

    name = ChannelName.PUSH
    message_seconds = 1.0

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def address_of(self, recipient: Recipient) -> str | None:
        return None if recipient.name == "Nobody" else recipient.user_id

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Push"]:
        yield self

    async def send(self, message: Message) -> None:
        if "Bob" in message.body:
            raise ZeroDivisionError("a mistake of ours")
        self.sent.append((message.address, message.subject))


async def test_another_channel_is_a_class_and_its_mistakes_cost_one_message(
    database: Database, settings: Settings, engine: AsyncEngine, people: People, post: MailServer
) -> None:
    push = Push()
    mailed = with_mail(settings, post)
    office = Office(engine, mailed, [push, *open_channels(mailed)])
    ann, bob, nobody = [await people.add(name) for name in ("Ann", "Bob", "Nobody")]
    await office.hear(ann, bob, nobody)
    assert await office.sender().send_due() == 2
    assert push.sent == [(ann.user_id, "12.34 USD came in from your bank account")]
    with database.connect() as connection:
        found = connection.execute(
            "SELECT channel, status, reason FROM notifications.messages ORDER BY 1, 2"
        ).fetchall()
    assert found == [
        ("email", "waiting", None),
        ("email", "waiting", None),
        ("email", "waiting", None),
        ("push", "sent", None),
        ("push", "waiting", "ZeroDivisionError: a mistake of ours"),
    ]
