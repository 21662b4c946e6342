"""House rules about code that no linter of ours knows: money is never a float, workflows are deterministic,
and only a few places end a database transaction."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house.tree import named, product_modules

MONEY_WORDS = ("amount", "balance", "minor", "held", "posted", "captured", "available")
# Seconds are floats; these places read or make no money at all.
FLOAT_CALLS_ALLOWED = ("infra/", "cli.py")
NOT_DETERMINISTIC_MODULES = ("random", "secrets", "time", "uuid", "uuid_utils", "threading", "os", "subprocess")
NOT_DETERMINISTIC_CALLS = ("utcnow", "today", "uuid4", "uuid7", "random", "new_uuid", "token_hex", "urandom")
ENDS_TRANSACTIONS = ("commit", "rollback")
MAY_END_TRANSACTIONS = (
    "infra/database.py",  # the one way to a transaction of the ledger, the directory and the history
    "migrations/",  # each migration run is one transaction
    "bank_adapters/simulator/database.py",  # the bank's own books
    "events/",  # a consumer commits its Kafka offsets once its rows are there
)

Finder = Callable[[ast.Module], Iterator[ast.AST]]


def _called_name(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_money(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", getattr(node, "arg", ""))
    return any(word in str(name).lower().split("_") for word in MONEY_WORDS)


def floats_near_money(module: ast.Module) -> Iterator[ast.AST]:
    """Calls of float(), money divided with /, and money annotated as float."""
    for node in ast.walk(module):
        if _called_name(node) == "float":
            yield node
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if any(_is_money(side) for side in (node.left, node.right)):
                yield node
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node
            if _is_money(target) and "float" in ast.unparse(node.annotation):
                yield node


def chance_and_clocks(module: ast.Module) -> Iterator[ast.AST]:
    """What a replay would answer differently."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            imported = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [(node.module or "").split(".")[0]]
        else:
            imported = []
        if set(imported) & set(NOT_DETERMINISTIC_MODULES):
            yield node
        name = _called_name(node)
        if name in NOT_DETERMINISTIC_CALLS or (name == "now" and _owner(node) != "workflow"):
            yield node
        if name in ("wait", "as_completed") and _owner(node) == "asyncio":
            yield node


def _owner(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""


def ended_transactions(module: ast.Module) -> Iterator[ast.AST]:
    """Calls of commit() and rollback(), and the words sent as SQL."""
    for node in ast.walk(module):
        word = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if _called_name(node) in ENDS_TRANSACTIONS or word.strip().rstrip(";").lower() in ENDS_TRANSACTIONS:
            yield node


def _found(finder: Finder, *, under: tuple[str, ...] = ("",), but: tuple[str, ...] = ()) -> list[str]:
    def wanted(path: Path) -> bool:
        return named(path).startswith(under) and not (but and named(path).startswith(but))

    return [
        f"{named(path)}:{getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}"
        for path, module in product_modules()
        if wanted(path)
        for node in finder(module)
    ]


def test_money_is_never_a_float() -> None:
    assert _found(floats_near_money, but=FLOAT_CALLS_ALLOWED) == []


def test_workflows_ask_no_clock_and_no_chance() -> None:
    assert _found(chance_and_clocks, under=("workflows/",)) == []


def test_only_a_few_places_end_a_database_transaction() -> None:
    assert _found(ended_transactions, but=MAY_END_TRANSACTIONS) == []


@pytest.mark.parametrize(
    ("finder", "bad", "good"),
    [
        (floats_near_money, "x = float(y)", "x = int(y)"),
        (floats_near_money, "x = amount / 2", "x = amount // 2"),
        (floats_near_money, "def f(balance_after: float): ...", "def f(timeout_seconds: float): ..."),
        (chance_and_clocks, "x = datetime.now(UTC)", "x = workflow.now()"),
        (chance_and_clocks, "x = workflow.uuid4()", "x = request.transaction_id"),
        (chance_and_clocks, "import random", "import asyncio"),
        (ended_transactions, "await session.commit()", "await session.execute(q)"),
        (ended_transactions, "c.execute('COMMIT')", "c.execute('SELECT 1')"),
    ],
)
def test_the_rules_see_what_they_forbid(finder: Finder, bad: str, good: str) -> None:
    assert len(list(finder(ast.parse(bad)))) == 1
    assert list(finder(ast.parse(good))) == []
