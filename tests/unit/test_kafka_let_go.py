"""Closing a Kafka client: done, failed, or left behind, but never waited for without end."""

import subprocess
import sys
import threading
from textwrap import dedent

import pytest
from structlog.testing import capture_logs

from infra.kafka import let_go


async def test_a_client_that_closes_is_waited_for() -> None:
    closed = threading.Event()
    await let_go("history", closed.set)
    assert closed.is_set()


async def test_what_goes_wrong_at_closing_is_told() -> None:
    def close() -> None:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError, match="not now"):
        await let_go("history", close)


async def test_a_client_that_never_closes_is_left_behind() -> None:
    forever = threading.Event()
    with capture_logs() as said:
        await let_go("history", forever.wait, seconds=0.05)
    assert [(line["event"], line["client"]) for line in said] == [("kafka.client_left_behind", "history")]
    forever.set()


def test_a_process_ends_though_a_client_never_closes() -> None:
    program = """
        import asyncio, threading
        from infra.kafka import let_go
        asyncio.run(let_go("history", threading.Event().wait, seconds=0.05))
        print("ended")
    """
    ran = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout.splitlines()[-1] == "ended"
