"""Whatever tells of money, or remembers it, writes nowhere that a balance is made of."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.house.tree import ROOT

_WRITES: Final = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM|TRUNCATE|MERGE INTO|COPY)\s+([a-z_]+\.[a-z_]+)")
_ANY_SQL: Final = re.compile(r"\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|TRUNCATE|MERGE INTO|COPY)\b")

OF_EVENTS: Final = frozenset(
    {
        "directory.webhook_endpoints",
        "history.wallet_transactions",
        "ledger.consumer_positions",
        "ledger.dead_letters",
        "ledger.outbox",
        "ledger.relay_positions",
        "notifications.messages",
        "notifications.preferences",
        "webhooks.attempts",
        "webhooks.deliveries",
        "webhooks.messages",
    }
)
"""What events/ may write. No account, entry, posting, hold or transaction is among them."""
CACHES: Final = ("infra/redis.py", "api/balances.py", "api/hopeless.py", "api/sender_lock.py", "api/rate_limits.py")


def strings_of(file: Path) -> list[str]:
    """Every text in a module, its docstrings too."""
    found = ast.walk(ast.parse(file.read_text()))
    return [node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_events_write_nothing_that_a_balance_is_made_of() -> None:
    written = {
        table
        for file in (ROOT / "events").rglob("*.py")
        for text in strings_of(file)
        for table in _WRITES.findall(text)
    }
    assert written == OF_EVENTS


@pytest.mark.parametrize("name", CACHES)
def test_caches_ask_no_database(name: str) -> None:
    assert [text for text in strings_of(ROOT / name) if _ANY_SQL.search(text)] == []
    imported = {
        node.module
        for node in ast.walk(ast.parse((ROOT / name).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    reaching = {module for module in imported if module.startswith(("ledger", "sqlalchemy", "psycopg"))}
    assert reaching <= {"ledger.service"}, "the ledger's service alone, which decides itself"
