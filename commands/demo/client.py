"""The demo's app: a plain HTTP client of the REST API, as a customer of the platform would write it."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx
from pydantic import BaseModel, ConfigDict


class DemoFailedError(Exception):
    """The platform did not answer as documented."""


class Balance(BaseModel):
    """Minor units."""

    posted: int
    held: int
    available: int


class WalletView(BaseModel):
    """What the demo reads of a wallet."""

    model_config = ConfigDict(extra="ignore")
    wallet_id: str
    balance: Balance


class FailureView(BaseModel):
    """Why a payment failed."""

    code: str
    detail: str


class PaymentView(BaseModel):
    """What the demo reads of a transaction."""

    model_config = ConfigDict(extra="ignore")
    transaction_id: str
    status: str
    failure: FailureView | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a wallet and a bank account."""

    name: str
    user_id: str
    wallet_id: str
    bank_account_id: str


class AppClient:
    """Calls the API with a key. A POST that gets a 503 is sent again with the same idempotency key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=40, trust_env=False
        )
        self.replayed = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: dict[str, str | int], key: str | None = None) -> bytes:
        """One POST under one key. Raises DemoFailedError for an answer that is not a success."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        for _attempt in range(5):
            response = await self._http.post(path, json=body, headers=headers)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
        if not response.is_success:
            raise DemoFailedError(f"POST {path}: {response.status_code} {response.text}")
        self.replayed += "Idempotent-Replayed" in response.headers
        return response.content

    async def pay(self, path: str, body: dict[str, str | int], key: str | None = None) -> PaymentView:
        """Ask for a payment; returns what the 202 says."""
        return PaymentView.model_validate_json(await self.post(path, body, key))

    async def payment(self, transaction_id: str, *, wait_seconds: int = 0) -> PaymentView:
        """A payment, once it is final or `wait_seconds` have passed."""
        response = await self._http.get(f"/v1/transactions/{transaction_id}", params={"wait": wait_seconds})
        return PaymentView.model_validate_json(response.raise_for_status().content)

    async def wallet(self, wallet_id: str) -> WalletView:
        """A wallet with its balance."""
        response = await self._http.get(f"/v1/wallets/{wallet_id}")
        return WalletView.model_validate_json(response.raise_for_status().content)
