"""The running API against its own OpenAPI document: no server error, no undocumented answer, nothing bad accepted."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, HookContext

from api.app import create_app
from infra.settings import Settings
from ledger.directory import Directory, Scope
from tests.rest.roles import running_roles
from tests.rest.stage import new_key
from tests.stack.bank import BankProcess, running_bank
from tests.stack.servers import Servers

EXAMPLES = 25
MOST_IDS = re.compile(r"[a-z]+_[0-9a-f]{31}[0-9ab]")
REAL_IDS: dict[str, str] = {}

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
# Valid data is often rightly refused (an unknown wallet, an unknown code): tests of their own say what is accepted.
NOT_ASKED = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]


@dataclass(frozen=True)
class Running:
    """The API's address, and the headers of an app and of an operator."""

    url: str
    app: dict[str, str]
    operator: dict[str, str]


@pytest.fixture(scope="module")
def bank(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    """The simulated bank at the address that the session's settings name."""
    with running_bank(tmp_path_factory.mktemp("bank"), servers.settings.bank_port) as process:
        yield process


@pytest.fixture(scope="module")
def running(servers: Servers, bank: BankProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The API and the worker as processes, with a few users for real ids."""
    app_key, operator_key = asyncio.run(make_keys(servers.settings))
    home = tmp_path_factory.mktemp("roles")
    with running_roles(servers, home, "api", "worker", SAGAPAY_ACCEPT_TIMEOUT_SECONDS="30") as roles:
        found = Running(roles.url, bearer(app_key), bearer(operator_key))
        learn_real_ids(found, bank)
        yield found


async def make_keys(platform: Settings) -> tuple[str, str]:
    """An app's key and an operator's."""
    directory = Directory.from_settings(platform)
    client_id = await directory.create_client("conformance")
    keys = [await directory.create_key(client_id, scope, "conformance") for scope in (Scope.APP, Scope.OPERATOR)]
    await directory.aclose()
    return keys[0], keys[1]


def bearer(api_key: str) -> dict[str, str]:
    """The header of a key."""
    return {"Authorization": f"Bearer {api_key}"}


def learn_real_ids(running: Running, bank: BankProcess) -> None:
    """Two users, one with a linked bank account, a deposit and a batch."""
    with httpx.Client(base_url=running.url, headers=running.app, timeout=60) as http:

        def post(path: str, body: dict[str, object]) -> dict[str, str]:
            response = http.post(path, json=body, headers={"Idempotency-Key": new_key()})
            assert response.is_success, response.text
            found: dict[str, str] = response.json()
            return found

        user, other = (post("/v1/users", {"name": "Ada", "email": "ada@example.com"}) for _ in range(2))
        token = post("/v1/bank-links", {"user_id": user["user_id"]})["link_token"]
        approval = httpx.post(f"{bank.url}/v1/link-tokens/{token}/approve", json={"opening_balance": 10**9})
        public = {"user_id": user["user_id"], "public_token": approval.json()["public_token"]}
        account = post("/v1/bank-accounts", public)["bank_account_id"]
        deposit = {"wallet_id": user["wallet_id"], "bank_account_id": account, "amount": 10**6, "currency": "USD"}
        transaction = post("/v1/deposits", deposit)["transaction_id"]
        http.get(f"/v1/transactions/{transaction}", params={"wait": 30})
        hold = post("/v1/holds", {"wallet_id": user["wallet_id"], "amount": 10**5, "currency": "USD"})["hold_id"]
        transfers = [{"receiver_id": other["wallet_id"], "amount": 1}]
        batch = post(
            "/v1/transfer-batches", {"sender_id": user["wallet_id"], "currency": "USD", "transfers": transfers}
        )
    REAL_IDS.update(
        user_id=user["user_id"],
        wallet_id=user["wallet_id"],
        sender_id=user["wallet_id"],
        receiver_id=other["wallet_id"],
        bank_account_id=account,
        transaction_id=transaction,
        batch_id=batch["batch_id"],
        hold_id=hold,
    )


def made_real(values: object) -> object:
    """Most well-formed ids become ids that exist; which ones is a function of the value, as hypothesis demands."""
    if isinstance(values, list):
        return [made_real(value) for value in values]
    if not isinstance(values, dict):
        return values
    changed = {name: made_real(value) for name, value in values.items()}
    for name, value in values.items():
        if name in REAL_IDS and isinstance(value, str) and MOST_IDS.fullmatch(value):
            changed[name] = REAL_IDS[name]
        elif name == "currency" and isinstance(value, str) and value.isalpha() and value[:1] < "N":
            changed[name] = "USD"
    return changed


@schema.hook
def map_path_parameters(_context: HookContext, path_parameters: object) -> object:
    """Of schemathesis: ids in paths."""
    return made_real(path_parameters)


@schema.hook
def map_body(_context: HookContext, body: object) -> object:
    """Of schemathesis: ids in bodies."""
    return made_real(body)


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case: Case, running: Running) -> None:
    operators = case.path.endswith(("freeze", "/close", "/limits"))
    headers = running.operator if operators else running.app
    case.call_and_validate(base_url=running.url, headers=headers, excluded_checks=NOT_ASKED, timeout=60)
