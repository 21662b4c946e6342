"""The adapter of the simulated bank."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from bank_adapters.http import http_client, send
from bank_adapters.linking import AccountNumbers, MicroDeposits
from bank_adapters.notices import BankNotice
from bank_adapters.port import (
    BankPayment,
    Capabilities,
    Direction,
    LinkedAccount,
    LinkToken,
    NotSeen,
    PaymentInstruction,
    RailCapabilities,
    StatementLine,
)
from bank_adapters.simulated.answers import (
    ExchangeAnswer,
    LinkTokenAnswer,
    MicroDepositsAnswer,
    NoticeBody,
    StatementAnswer,
    problem,
    read,
    read_payment,
)
from domain.errors import BankEventRefused, BankRefusedLink, BankUnknown
from domain.money import CURRENCIES
from domain.rails import Rail
from infra.settings import Settings
from infra.signatures import read_secrets, secrets_file, verified

VALID_UNTIL_HEADER: Final = "X-Valid-Until"
STATEMENT_PAGE_LINES: Final = 500
CALLS_PER_SECOND: Final = 500.0

# The bank drops a payment request that it would start later than this after our time-out …
_LATEST_START_SECONDS: Final = 2
# … and needs at most this much more to commit one it has started: after both, "never seen" is for ever.
_COMMIT_SECONDS: Final = 3


_RAILS: Final = (
    RailCapabilities(rail=Rail.INSTANT, most_minor_units=1_000_000_000, settles_within_seconds=20),
    RailCapabilities(
        rail=Rail.ACH,
        most_minor_units=9_999_999_999,
        cancellable=True,
        settles_within_banking_days=2,
        returns_within_banking_days=2,
        returns_within_calendar_days=60,
    ),
)


class SimulatedBank:
    """The port over the simulated bank's HTTP API."""

    NAME: Final = "simulator"

    def __init__(self, url: str, request_timeout_seconds: float, webhook_secrets_file: Path | None = None) -> None:
        self._client = http_client(url, request_timeout_seconds)
        self._webhook_secrets_file = webhook_secrets_file
        self._webhook_secrets: tuple[bytes, ...] | None = None
        self._lifetime = timedelta(seconds=request_timeout_seconds + _LATEST_START_SECONDS)
        self._capabilities = Capabilities(
            rails=_RAILS,
            currencies=tuple(CURRENCIES),
            visibility_window_seconds=self._lifetime.total_seconds() + _COMMIT_SECONDS,
            calls_per_second=CALLS_PER_SECOND,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The bank at `bank_url`."""
        return cls(settings.bank_url, settings.bank_request_timeout_seconds, secrets_file(settings))

    @property
    def name(self) -> str:
        """The name in the registry."""
        return self.NAME

    @property
    def capabilities(self) -> Capabilities:
        """Instant and ACH, every currency, a window a little longer than our time-out."""
        return self._capabilities

    async def create_link_token(self, user_reference: str) -> LinkToken:
        """See the port."""
        response = await self._post("/v1/link-tokens", {"user_reference": user_reference})
        _expect_success(response)
        return read(LinkTokenAnswer, response).value()

    async def exchange_public_token(self, public_token: str) -> LinkedAccount:
        """See the port."""
        response = await self._post("/v1/exchanges", {"public_token": public_token})
        if response.status_code in (404, 410, 422) and problem(response).code:
            raise BankRefusedLink(problem(response).detail or None)
        _expect_success(response)
        return read(ExchangeAnswer, response).value()

    async def send_micro_deposits(self, reference: str, user_reference: str, account: AccountNumbers) -> MicroDeposits:
        """See `bank_adapters.linking`."""
        body: dict[str, str | int | None] = {
            "reference": reference,
            "user_reference": user_reference,
            "routing_number": account.routing_number,
            "account_number": account.account_number,
        }
        response = await self._post("/v1/micro-deposits", body)
        if response.status_code == 404 and problem(response).code:
            raise BankRefusedLink("The bank knows no such account.")
        _expect_success(response)
        return read(MicroDepositsAnswer, response).value()

    def read_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> BankNotice:
        """See `bank_adapters.notices`: signed by Standard Webhooks."""
        event_id = verified(self._known_secrets(), headers, body, now)
        try:
            return NoticeBody.model_validate_json(body).value(event_id)
        except ValidationError:
            raise BankEventRefused("The event does not have the bank's form.") from None

    async def pull(self, instruction: PaymentInstruction) -> BankPayment:
        """See the port."""
        return await self._move(Direction.PULL, "/v1/pulls", instruction)

    async def push(self, instruction: PaymentInstruction) -> BankPayment:
        """See the port."""
        return await self._move(Direction.PUSH, "/v1/pushes", instruction)

    async def look_up(self, reference: str) -> BankPayment | NotSeen:
        """See the port."""
        return self._known(reference, await self._get(f"/v1/payments/{quote(reference, safe='')}", {}))

    async def cancel(self, reference: str) -> BankPayment | NotSeen:
        """See the port."""
        path = f"/v1/payments/{quote(reference, safe='')}/cancellation"
        return self._known(reference, await self._post(path, {}))

    async def statement(
        self, currency: str | None, *, since: datetime, until: datetime | None = None
    ) -> AsyncIterator[StatementLine]:
        """See the port."""
        window = {"booked_from": since.isoformat()}
        if currency is not None:
            window["currency"] = currency
        if until is not None:
            window["booked_until"] = until.isoformat()
        cursor: int | None = 0
        while cursor is not None:
            page = {**window, "since": str(cursor), "limit": str(STATEMENT_PAGE_LINES)}
            response = await self._get("/v1/statement", page)
            _expect_success(response)
            answer = read(StatementAnswer, response)
            for line in answer.lines:
                yield line.value()
            cursor = answer.next_cursor

    async def aclose(self) -> None:
        """See the port."""
        await self._client.aclose()

    def _known(self, reference: str, response: httpx.Response) -> BankPayment | NotSeen:
        if response.status_code == 404 and problem(response).code == "payment_not_seen":
            return NotSeen(reference=reference)
        _expect_success(response)
        payment = read_payment(response)
        if payment.reference != reference:
            raise BankUnknown(f"asked about {reference}, the bank answered about {payment.reference}")
        return payment

    def _known_secrets(self) -> tuple[bytes, ...]:
        if self._webhook_secrets is None:
            if self._webhook_secrets_file is None or not self._webhook_secrets_file.exists():
                raise BankEventRefused("Events of this bank are not set up here.")
            self._webhook_secrets = read_secrets(self._webhook_secrets_file)
        return self._webhook_secrets

    async def _move(self, direction: Direction, path: str, instruction: PaymentInstruction) -> BankPayment:
        body: dict[str, str | int | None] = {
            "reference": instruction.reference,
            "account_token": instruction.account_token,
            "amount": instruction.amount.minor_units,
            "currency": instruction.amount.currency,
            "rail": instruction.rail,
            "memo": instruction.memo,
        }
        sent_at = datetime.now(UTC)
        if instruction.not_after is not None:
            sent_at = min(sent_at, instruction.not_after)
        valid_until = (sent_at + self._lifetime).isoformat()
        response = await self._post(path, body, {VALID_UNTIL_HEADER: valid_until})
        _expect_success(response)
        payment = read_payment(response)
        _expect_match(payment, direction, instruction)
        return payment

    async def _post(
        self, path: str, body: dict[str, str | int | None], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await send(self._client, self._client.build_request("POST", path, json=body, headers=headers))

    async def _get(self, path: str, query: dict[str, str]) -> httpx.Response:
        return await send(self._client, self._client.build_request("GET", path, params=query))


def _expect_success(response: httpx.Response) -> None:
    # A 4xx that no caller expects is a bug of one of the two sides. Nobody may conclude from it that no money moved.
    if not response.is_success:
        said = problem(response)
        raise BankUnknown(f"the bank answered {response.status_code} {said.code}: {said.detail}")


def _expect_match(payment: BankPayment, direction: Direction, asked: PaymentInstruction) -> None:
    answered = (payment.reference, payment.direction, payment.amount, payment.rail)
    if answered != (asked.reference, direction, asked.amount, asked.rail):
        raise BankUnknown(
            f"asked to {direction} {asked.amount} over {asked.rail} as {asked.reference}, "
            f"the bank answered {payment.direction} {payment.amount} over {payment.rail} as {payment.reference}"
        )
