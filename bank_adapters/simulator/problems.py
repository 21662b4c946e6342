"""What the bank answers when it cannot answer: problem+json (RFC 9457) with a stable code."""

from typing import ClassVar, Final

NOT_PROCESSED: Final = "X-Not-Processed"


class BankProblem(Exception):
    """The bank cannot answer the request."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    # Promised to the caller: this request has had no effect and will have none.
    not_processed: ClassVar[bool] = False

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        super().__init__(self.detail)


class Broken(BankProblem):
    """Something broke after the request was processed, or perhaps before."""

    code, status = "internal_error", 500


class Hung(BankProblem):
    """The bank did not answer in time."""

    code, status = "gateway_timeout", 504


class Down(BankProblem):
    """The bank is closed for maintenance. The request was not processed."""

    code, status, not_processed = "down", 503, True


class TooLate(BankProblem):
    """The request was not to be started any more. It was not processed."""

    code, status, not_processed = "too_late", 503, True


class InvalidRequest(BankProblem):
    """The request does not have the documented form."""

    code, status = "invalid_request", 422


class PaymentNotSeen(BankProblem):
    """The bank has not seen this reference."""

    code, status = "payment_not_seen", 404


class CannotReturn(BankProblem):
    """Only what has settled comes back."""

    code, status = "cannot_return", 409


class AccountUnknown(BankProblem):
    """There is no such account."""

    code, status = "account_unknown", 404


class FaultUnknown(BankProblem):
    """There is no such fault."""

    code, status = "fault_unknown", 404


class LinkUnknown(BankProblem):
    """The bank does not know this token."""

    code, status = "link_unknown", 404


class LinkExpired(BankProblem):
    """The token has expired. Link the account anew."""

    code, status = "link_expired", 410


class ReferenceReused(BankProblem):
    """This reference was used with another body."""

    code, status = "reference_reused", 409
