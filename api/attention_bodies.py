"""What operators say of parked payments: each time why, and of a bank what it did."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.schemas import Memo, RuleBody
from domain.contracts.operators import BankOutcome

PaymentOutcome = Literal[BankOutcome.PAID, BankOutcome.SETTLED, BankOutcome.NOT_PAID]


class RetryBody(RuleBody):
    """Try a parked payment again."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "The bank says that it is back"}})


class ResolveBody(RuleBody):
    """What the bank said by other ways than its interface, and how that can be proved."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"outcome": "paid", "evidence": "Call with Ms Lee, ticket 4711", "reason": "Interface down"}
        }
    )

    outcome: PaymentOutcome
    evidence: Annotated[Memo, Field(min_length=1)]


class ResolveReturnBody(RuleBody):
    """The bank has put a return right that was no payment's, and how that can be proved."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"outcome": "corrected", "evidence": "Statement of 3 March, line 8", "reason": "Ticket 4711"}
        }
    )

    outcome: Literal[BankOutcome.CORRECTED]
    evidence: Annotated[Memo, Field(min_length=1)]


class ForceBody(RuleBody):
    """End a payment against what the bank says, or without its word; a second operator has to approve."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "not_paid", "reason": "The bank has closed"}})

    outcome: PaymentOutcome


class WriteOffReturnBody(RuleBody):
    """Nobody will put a return right that was no payment's; a second operator has to approve."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "written_off", "reason": "Dispute 88, lost"}})

    outcome: Literal[BankOutcome.WRITTEN_OFF]


class ApproveBody(RuleBody):
    """Agree to what another operator has proposed."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Seen the bank's letter"}})
