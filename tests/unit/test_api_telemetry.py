"""Logs are one JSON object a line, and no secret gets into them, under whatever name or inside whatever text."""

import json
import subprocess
import sys
from typing import Any

import pytest

from infra.telemetry import REDACTED, accept_request_id, redact, redact_text
from ledger.bank_accounts import BankAccount
from ledger.directory import User

SECRET = "sk_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET} was bad",
        f"Authorization: Bearer {SECRET}",
        "bearer abc.def.ghi",
        "postgresql://sagapay:hunter2@db:5432/sagapay",
        f"{{'authorization': 'Bearer {SECRET}'}}",
    ],
)
def test_secrets_inside_texts_are_cut_out(text: str) -> None:
    clean = redact_text(text)
    assert REDACTED in clean
    for secret in (SECRET, "hunter2", "abc.def"):
        assert secret not in clean


def test_secrets_by_name_are_cut_out_at_any_depth() -> None:
    event: dict[str, Any] = {
        "event": "x",
        "account_token": "t",
        "Authorization": "t",
        "nested": {"password": "t", "list": [{"api_key": "t"}]},
        "amount": 5,
        "token_count": 3,
    }
    clean = redact(None, "info", event)
    assert clean["account_token"] == clean["Authorization"] == REDACTED
    assert clean["nested"]["password"] == clean["nested"]["list"][0]["api_key"] == REDACTED
    assert (clean["amount"], clean["token_count"]) == (5, 3)


def test_records_hide_what_is_secret_or_personal() -> None:
    hidden = {
        field.name for kind in (BankAccount, User) for field in kind.__dataclass_fields__.values() if not field.repr
    }
    assert hidden == {"account_token", "holder_name", "name", "email", "handle"}


def test_a_process_logs_json_lines_without_secrets() -> None:
    program = f"""
import logging, structlog
from infra.telemetry import configure_logging, request_id
configure_logging("INFO", "api", json=True)
request_id.set("req_test")
structlog.get_logger("x").info("hello", secret="{SECRET}", at="{SECRET}")
logging.getLogger("lib").warning("from a library: %s", "Bearer {SECRET}")
try:
    raise ValueError("{SECRET}")
except ValueError:
    structlog.get_logger("x").exception("broken")
structlog.get_logger("x").debug("unheard")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"][:14] for line in lines] == ["hello", "from a library", "broken"]
    assert all(line["request_id"] == "req_test" and line["role"] == "api" for line in lines)
    assert "ValueError" in lines[2]["exception"]
    assert SECRET not in done.stderr


def test_request_ids_are_taken_if_sane() -> None:
    assert accept_request_id("abc-123_x.Y") == "abc-123_x.Y"
    for insane in (None, "", "short", "a" * 129, "spaces in it", "new\nline-here", "ünïcode-id"):
        assert accept_request_id(insane).startswith("req_")
    assert accept_request_id(None) != accept_request_id(None)
