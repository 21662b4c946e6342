"""The role that sends is killed when the mail server has the mail and nobody knows: it comes again, the same."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.local import LocalLedger
from tests.events.mail_server import MailServer, mail_server
from tests.events.people import People
from tests.events.stage import Stage, eventually, staged
from tests.money.scratch import Databases
from tests.stack.servers import Servers

CONSUMERS = ("-m", "cli", "consumers")


@pytest.fixture
def stage(databases: Databases, bare_servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    with databases.copy() as database, staged([database], bare_servers.settings, tmp_path) as made:
        made.start_broker()
        yield made


@pytest.fixture
async def people(stage: Stage) -> AsyncIterator[People]:
    ledger = LocalLedger(stage.settings)
    made = await People.of(stage.settings, ledger)
    yield made
    await made.aclose()
    await ledger.aclose()


@pytest.fixture
async def post() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.mark.slow
async def test_a_role_killed_between_sending_and_marking_sends_the_same_mail_again(
    stage: Stage, people: People, post: MailServer
) -> None:
    settings = {**post.settings(), "notification_senders": 1}
    async with stage.relay():
        victim = stage.start_role(*CONSUMERS, **settings)

        async def kill() -> None:
            os.kill(victim.pid, signal.SIGKILL)
            await asyncio.to_thread(victim.stop, 10.0)

        post.before_taking = kill
        ann = await people.add("Ann", balance=10_000)
        await eventually(lambda: victim.code is not None, "the role to die of its mail")
        assert [mail["To"] for mail in post.mails] == [ann.email]
        assert stage.ask("SELECT status, attempts, due_at > now() FROM notifications.messages") == [
            ("waiting", 0, True)
        ]
        post.before_taking = None
        stage.start_role(*CONSUMERS, **settings)
        with stage.connect() as connection:
            connection.execute("UPDATE notifications.messages SET due_at = now()")  # The dead sender's time is over.
        await eventually(lambda: len(post.mails) == 2, "the mail to come again")
        await eventually(
            lambda: stage.ask("SELECT status, attempts FROM notifications.messages") == [("sent", 1)], "it to be marked"
        )
    first, again = post.mails
    assert first.as_bytes() == again.as_bytes()
    ((event_id,),) = stage.ask("SELECT encode(uuid_send(event_id), 'hex') FROM notifications.messages")
    assert first["Message-ID"] == f"<evt_{event_id}.deposit_completed@wallets.example>"
