"""All errors of Sagapay: a stable code, an HTTP status, and whether trying again can help.

A *request refusal* (syntax, authentication, unknown id) writes nothing. A *decision* (funds, frozen …) is not an
exception at all: it is a recorded outcome, see `DecisionCode`. docs/reference/errors.md lists every code; a test
keeps the two equal.
"""

from enum import StrEnum
from typing import ClassVar


class SagapayError(Exception):
    """Something went wrong that has a name. The docstring is the default message."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.detail)


class InternalError(SagapayError):
    """Something failed on our side; nothing was half-done. Retry with the same idempotency key."""

    code, status, retryable = "internal_error", 500, True


class SettingsInvalid(SagapayError):
    """A setting has a value that cannot work."""

    code, status = "settings_invalid", 500


# -- request refusals: nothing is written, the key stays unused -------------------------------------


class InvalidRequest(SagapayError):
    """The request does not have the documented form."""

    code, status = "invalid_request", 400


class InvalidMoney(InvalidRequest):
    """An amount is an integer of minor units between 1 and 1,000,000,000,000, with an ISO 4217 currency."""

    code = "invalid_amount"


class UnknownCurrency(InvalidRequest):
    """The currency is not an ISO 4217 code that this platform keeps accounts in."""

    code = "unknown_currency"


class InvalidId(InvalidRequest):
    """The identifier is malformed: it wants its prefix and 32 lower-case hexadecimal digits."""

    code = "invalid_id"


class InvalidCursor(InvalidRequest):
    """The cursor was not made by this endpoint. Start again without one."""

    code = "invalid_cursor"


class SelfTransfer(InvalidRequest):
    """Sender and receiver are the same wallet."""

    code = "self_transfer"


class DuplicateItemKey(InvalidRequest):
    """Two transfers of a batch, or a transfer and its batch, have the same idempotency key."""

    code = "duplicate_item_key"


class NotOnOneShard(InvalidRequest):
    """An atomic batch wants all its wallets on one shard; independent transfers do not."""

    code = "not_on_one_shard"


class UnknownBank(InvalidRequest):
    """There is no such bank in the registry."""

    code = "unknown_bank"


class IdempotencyKeyMissing(InvalidRequest):
    """Send an Idempotency-Key header (or idempotency_key in the body) with every POST."""

    code = "idempotency_key_missing"


class IdempotencyKeyInvalid(InvalidRequest):
    """An idempotency key is 1 to 255 visible ASCII characters, the same in header and body."""

    code = "idempotency_key_invalid"


class Unauthenticated(SagapayError):
    """Send a valid API key: Authorization: Bearer sk_…"""

    code, status = "unauthenticated", 401


class BankEventRefused(SagapayError):
    """This event was not signed by the bank, or not just now."""

    code, status = "bank_event_refused", 403


class Forbidden(SagapayError):
    """This API key's scope does not allow the call."""

    code, status = "forbidden", 403


class NotFound(SagapayError):
    """There is no such resource for this client."""

    code, status = "not_found", 404


class MethodNotAllowed(SagapayError):
    """The resource does not have this method."""

    code, status = "method_not_allowed", 405


class HandleTaken(SagapayError):
    """Another user has this handle."""

    code, status = "handle_taken", 409


class TooManyEndpoints(SagapayError):
    """The client has as many webhook endpoints as it may have; remove one first."""

    code, status = "too_many_endpoints", 409


class EndpointDisabled(SagapayError):
    """The webhook endpoint is disabled; enable it first."""

    code, status = "endpoint_disabled", 409


class CannotCancel(SagapayError):
    """The transaction can no longer be cancelled."""

    code, status = "cannot_cancel", 409


class CannotRetry(SagapayError):
    """Only a parked payment can be told to try again; any other is trying by itself."""

    code, status = "cannot_retry", 409


class CannotResolve(SagapayError):
    """The payment does not wait for a person's word, or that word is not enough to move its money."""

    code, status = "cannot_resolve", 409


class CannotApprove(SagapayError):
    """Only what another operator has proposed, and nobody has approved yet, can be approved."""

    code, status = "cannot_approve", 409


class CannotWriteOff(SagapayError):
    """The wallet owes nothing, or less than that; only what it owes can be written off."""

    code, status = "cannot_write_off", 409


class CannotRelease(SagapayError):
    """The hold has ended otherwise and can no longer be released."""

    code, status = "cannot_release", 409


class CannotChangeWallet(SagapayError):
    """The wallet is closed, for ever."""

    code, status = "cannot_change_wallet", 409


class WalletInUse(SagapayError):
    """Only a wallet without money, without holds and without payments under way can be closed."""

    code, status = "wallet_in_use", 409


class BankAccountInUse(SagapayError):
    """Money is in flight over this bank account; it can be unlinked when its payments have ended."""

    code, status = "bank_account_in_use", 409


class CannotLink(SagapayError):
    """The bank account's link is in no state in which this can be done."""

    code, status = "cannot_link", 409


class BodyTooLarge(SagapayError):
    """The request body is larger than this call takes: 64 KiB, for a batch 4 MiB."""

    code, status = "body_too_large", 413


class UnsupportedMediaType(SagapayError):
    """Send the body as application/json."""

    code, status = "unsupported_media_type", 415


class IdempotencyKeyReused(SagapayError):
    """This idempotency key was used with another body. Use a new key for a new request."""

    code, status = "idempotency_key_reused", 422


class BankRefusedLink(SagapayError):
    """The bank does not know this public token, or it has expired. Link the account anew."""

    code, status = "bank_link_refused", 422


class MicroDepositsWrong(SagapayError):
    """These are not the amounts that were sent; `detail` says how many tries are left."""

    code, status = "micro_deposits_wrong", 422


class MicroDepositsUnsupported(SagapayError):
    """This bank links accounts on its own pages alone, not by number."""

    code, status = "micro_deposits_unsupported", 422


class RateLimited(SagapayError):
    """Too many requests; nothing was recorded. Come back later with the same idempotency key."""

    code, status, retryable = "rate_limited", 429, True

    def __init__(self, detail: str | None = None, retry_after_seconds: int = 1) -> None:
        """`retry_after_seconds` is when there is room again."""
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


# -- a server is down: retry with the same key -----------------------------------------------------


class Unavailable(SagapayError):
    """A server that this call needs is down. Retry with the same idempotency key."""

    code, status, retryable = "unavailable", 503, True

    def __init__(self, detail: str | None = None, retry_after_seconds: float | None = None) -> None:
        """`retry_after_seconds` is what the server asked for, if it did."""
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class LedgerUnavailable(Unavailable):
    """The ledger's database does not answer. Retry with the same idempotency key."""

    code = "ledger_unavailable"


class LedgerBusy(LedgerUnavailable):
    """The ledger has as much to do as it may queue; nothing was recorded. Retry with the same idempotency key."""

    code = "ledger_busy"


class WalletBusy(Unavailable):
    """Too many payments of this wallet at once; this one was not begun. Retry with the same idempotency key."""

    code = "wallet_busy"


class WorkflowsUnavailable(Unavailable):
    """The workflow engine does not answer. Retry with the same idempotency key."""

    code = "workflows_unavailable"


class BrokerUnavailable(Unavailable):
    """Kafka does not answer; events wait in the outbox."""

    code = "broker_unavailable"


class NotRecordedYet(Unavailable):
    """The payment was not recorded in time; it may still be. Retry with the same idempotency key."""

    code = "not_recorded_yet"


class BankUnavailable(Unavailable):
    """The bank does not answer, and did not get our request."""

    code = "bank_unavailable"


class BankUnknown(Unavailable):
    """The bank may or may not have done what we asked; it has to be asked by reference."""

    code = "bank_unknown"


# -- bugs: a person has to look ----------------------------------------------------------------------


class LedgerRejected(SagapayError):
    """The ledger was asked for something that is never right: unbalanced entries, an unknown account or hold."""

    code, status = "ledger_rejected", 500


class IllegalTransition(LedgerRejected):
    """A transaction cannot go from its status to the one asked for."""

    code = "illegal_transition"


class DecisionCode(StrEnum):
    """Why the ledger or a bank decided against a payment. Recorded under its key, the same for ever."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    WALLET_FROZEN = "wallet_frozen"
    WALLET_CLOSED = "wallet_closed"
    LIMIT_PER_TRANSACTION_EXCEEDED = "limit_per_transaction_exceeded"
    LIMIT_DAILY_EXCEEDED = "limit_daily_exceeded"
    WALLET_OWES = "wallet_owes"
    CURRENCY_MISMATCH = "currency_mismatch"
    HOLD_ENDED = "hold_ended"
    HOLD_EXCEEDED = "hold_exceeded"
    BANK_ACCOUNT_INACTIVE = "bank_account_inactive"
    BANK_REFUSED = "bank_refused"
    RESOLVED_UNPAID = "resolved_unpaid"
    BATCH_REFUSED = "batch_refused"
    CANCELLED = "cancelled"

    @property
    def meaning(self) -> str:
        """The decision as a sentence for people."""
        return _MEANINGS[self]


_MEANINGS = {
    DecisionCode.INSUFFICIENT_FUNDS: "The available balance was less than the amount.",
    DecisionCode.WALLET_FROZEN: "The sender's wallet was frozen for debits, or the receiver's for credits.",
    DecisionCode.WALLET_CLOSED: "A wallet of the payment was closed.",
    DecisionCode.WALLET_OWES: "The sender's wallet owed what a returned deposit had brought.",
    DecisionCode.LIMIT_PER_TRANSACTION_EXCEEDED: "The amount was more than may leave the wallet in one payment.",
    DecisionCode.LIMIT_DAILY_EXCEEDED: "With what had left it that day, the amount was more than may leave the wallet.",
    DecisionCode.CURRENCY_MISMATCH: "A wallet of the payment is kept in another currency.",
    DecisionCode.HOLD_ENDED: "The hold had been captured, released, or had expired.",
    DecisionCode.HOLD_EXCEEDED: "The amount was more than what remained of the hold.",
    DecisionCode.BANK_ACCOUNT_INACTIVE: "The bank account's link did not allow a payment in this direction.",
    DecisionCode.BANK_REFUSED: "The bank refused the payment; the detail carries the bank's own code and words.",
    DecisionCode.RESOLVED_UNPAID: "The bank gave no answer of its own; operators recorded that it has not paid.",
    DecisionCode.BATCH_REFUSED: "Another transfer of the same atomic batch was decided against, so none was made.",
    DecisionCode.CANCELLED: "The payment was cancelled before its money had moved.",
}
