"""The JSON Schemas of docs/events/, one for each event type and version, made from domain/events.py.

`make docs` (python -m tests.house.event_schemas) writes them anew, and refuses a change that would break a reader; a
test says when they differ.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import create_model

from domain.events import ENVELOPE_VERSION, AnyEvent, Envelope, EventModel
from tests.house.tree import ROOT

FOLDER = ROOT / "docs/events"
Schema = dict[str, Any]
_WORDS = {"title", "description", "default", "examples"}

_WALLETS = {"sender_id": "wal_0193e1a011117aaabbbbccccddddeee3", "receiver_id": "wal_0193e1a022227aaabbbbccccddddeee4"}
_AT = "2026-03-02T15:04:05.678901Z"
_TRANSACTION = {
    "tx_id": "txn_0193e1a0c7e17b3c9d4e5f60718293a4",
    "client_id": "cli_0193e19f00007aaabbbbccccddddeee0",
    "kind": "transfer",
    **_WALLETS,
    "bank_account_id": None,
    "amount": 1250,
    "currency": "USD",
    "memo": "lunch",
    "timestamp": _AT,
}
_DEPOSIT = {
    **_TRANSACTION,
    "kind": "deposit",
    "sender_id": None,
    "bank_account_id": "ba_0193e1a055557aaabbbbccccddddeee8",
    "memo": None,
}
_HOLD = {
    "hold_id": "hld_0193e1a0c7e27b3c9d4e5f60718293a4",
    "client_id": _TRANSACTION["client_id"],
    "wallet_id": _WALLETS["sender_id"],
    "amount": 5000,
    "captured": 0,
    "currency": "USD",
    "memo": "hotel",
    "expires_at": "2026-03-09T15:04:05Z",
    "timestamp": _AT,
}
_NO_FUNDS = {"code": "insufficient_funds", "detail": "The wallet has less than that available."}
_WALLET = {
    "wallet_id": _WALLETS["sender_id"],
    "user_id": "usr_0193e1a011117aaabbbbccccddddeee3",
    "client_id": _TRANSACTION["client_id"],
    "currency": "USD",
    "status": "active",
    "debits_frozen": False,
    "credits_frozen": False,
    "limit_per_transaction": None,
    "limit_daily": 1_000_000,
    "timestamp": _AT,
}
_ATTENTION = {"step": "push_to_bank", "reason": "bank_unavailable", "since": _AT, "detail": "no answer for a day"}
_SAMPLES: dict[str, dict[str, Any]] = {
    "transaction.processing": {**_DEPOSIT, "status": "processing"},
    "transaction.completed": {**_TRANSACTION, "status": "succeeded"},
    "transaction.failed": {**_TRANSACTION, "status": "failed", "failure": _NO_FUNDS},
    "transaction.returned": {
        **_DEPOSIT,
        "status": "returned",
        "failure": {"code": "R10", "detail": "Customer advises not authorized"},
    },
    "transaction.attention_raised": {**_DEPOSIT, "status": "processing", "attention": _ATTENTION},
    "transaction.attention_cleared": {**_DEPOSIT, "status": "processing"},
    "entry.posted": {
        "entry_id": "ent_0193e1a0c7e87d4e8f2b6c1d3a5e7f12",
        "posting_id": "pst_0193e1a0c7e57d4e8f2b6c1d3a5e7f10",
        "tx_id": _TRANSACTION["tx_id"],
        "account_id": _WALLETS["sender_id"],
        "side": "DEBIT",
        "amount": 1250,
        "currency": "USD",
        "balance_after": 8750,
        "version": 7,
        "timestamp": _AT,
    },
    "hold.placed": {**_HOLD, "status": "active"},
    "hold.failed": {**_HOLD, "status": "failed", "failure": _NO_FUNDS},
    "hold.captured": {**_HOLD, "status": "captured", "captured": 4200, "tx_id": _TRANSACTION["tx_id"]},
    "hold.released": {**_HOLD, "status": "released"},
    "hold.expired": {**_HOLD, "status": "expired"},
    "wallet.opened": _WALLET,
    "wallet.frozen": {**_WALLET, "status": "frozen", "debits_frozen": True},
    "wallet.unfrozen": _WALLET,
    "wallet.limited": {**_WALLET, "limit_per_transaction": 50_000},
    "wallet.closed": {**_WALLET, "status": "closed"},
    "event.dead_lettered": {
        "consumer": "history",
        "shard": 0,
        "topic": "sagapay.transactions.v1",
        "lane": 2,
        "position": "81234/5021",
        "event_type": "transaction.completed",
        "message": "{}",
        "reason": "EventUnreadable: transaction.completed at 81234/5021",
        "timestamp": _AT,
    },
}
_KEYS = {"transaction": "tx_id", "entry": "account_id", "hold": "hold_id", "wallet": "wallet_id", "event": "consumer"}


def _type_of(model: type[EventModel]) -> str:
    return str(model.model_fields["type"].default)


def _message(model: type[EventModel]) -> type[EventModel]:
    return create_model(
        f"{model.__name__}Message",
        __base__=Envelope,
        __doc__=model.__doc__,
        type=(Literal[_type_of(model)], ...),
        version=(Literal[ENVELOPE_VERSION], ...),
        data=(model, ...),
    )


def example(name: str) -> Schema:
    """A whole message of this type, as a consumer reads it."""
    data = _SAMPLES[name]
    message = {
        "id": "evt_0193e1a0c7e87d4e8f2b6c1d3a5e7f12",
        "type": name,
        "time": _AT,
        "shard": 0,
        "key": data[_KEYS[name.split(".", maxsplit=1)[0]]],
        "position": "81234/5021",
        "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {**data, "type": name},
    }
    return Envelope.model_validate(message).model_dump(mode="json")


def schemas() -> dict[str, Schema]:
    """The schema of every whole message, by file name: `transaction.completed.v1.json`."""
    return {
        f"{_type_of(model)}.v{ENVELOPE_VERSION}.json": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **_message(model).model_json_schema(mode="serialization"),
            "examples": [example(_type_of(model))],
        }
        for model in get_args(AnyEvent)
    }


def text_of(schema: Schema) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2) + "\n"


def index() -> str:
    """The page that lists the schemas."""
    rows = [f"| [{name}]({name}) | {schema['description']} |" for name, schema in schemas().items()]
    lines = [
        "# Event schemas",
        "",
        "One JSON Schema (2020-12) of the whole message for each event type and version, made from",
        "[domain/events.py](../../domain/events.py) by `make docs`. Within a version, optional fields and enum values",
        "are added and nothing else changes: ignore what you do not know. How messages travel is in",
        "[reference/events.md](../reference/events.md).",
        "",
        "| schema | tells |",
        "|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def breaks(old: Schema, new: Schema) -> list[str]:
    """What readers of one schema could not read in messages of the other, one line each."""
    return list(_differences(_inlined(old, old), _inlined(new, new), "message"))


def _inlined(node: Any, root: Schema) -> Any:
    """The node with every reference replaced by what it means. Schemas of events do not recur."""
    if isinstance(node, list):
        return [_inlined(each, root) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(root["$defs"][node["$ref"].rsplit("/", 1)[1]], root)
    return {key: _inlined(value, root) for key, value in node.items() if key != "$defs"}


def _differences(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before:
        if name not in after:
            yield f"{where}.{name} is gone"
        else:
            yield from _differences(before[name], after[name], f"{where}.{name}")
    for name in sorted({*old.get("required", ())} ^ {*new.get("required", ())}):
        yield f"{where}.{name} is required in one of the two only"
    if gone := [value for value in old.get("enum", ()) if value not in new.get("enum", ())]:
        yield f"{where} can no longer be {gone}"
    choices, others = old.get("anyOf", []), new.get("anyOf", [])
    if len(choices) != len(others):
        yield f"{where} is one of {len(others)} types, not of {len(choices)}"
    else:
        for choice, other in zip(choices, others, strict=True):
            yield from _differences(choice, other, where)
    apart = _WORDS | {"properties", "required", "enum", "anyOf", "$schema"}
    for key in sorted((old.keys() | new.keys()) - apart):
        if old.get(key) != new.get(key):
            yield f"{where}: {key} was {old.get(key)}, is {new.get(key)}"
    if "enum" in new and "enum" not in old:
        yield f"{where} is an enum now"


def committed(folder: Path = FOLDER) -> dict[str, Schema]:
    """The schemas that are in the folder, by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def broken(before: dict[str, Schema], after: dict[str, Schema]) -> list[str]:
    """All that no longer holds of the schemas before; a type that is gone is one line."""
    found = [f"{name}: is gone" for name in before if name not in after]
    both = [name for name in before if name in after]
    return found + [f"{name}: {line}" for name in both for line in breaks(before[name], after[name])]


def write(folder: Path = FOLDER) -> None:
    """Write all schemas and the index. Raises SystemExit, with nothing written, when a reader would break."""
    if lines := broken(committed(folder), schemas()):
        raise SystemExit("readers would break; this wants a new version:\n" + "\n".join(lines))
    folder.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text_of(schema))
    (folder / "README.md").write_text(index())


if __name__ == "__main__":
    write()
