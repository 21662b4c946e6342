"""What operators say of parked payments: each time why, and of a bank what it did."""

from typing import Annotated

from pydantic import ConfigDict, Field

from api.schemas import Memo, RuleBody
from domain.contracts.operators import BankOutcome


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

    outcome: Annotated[BankOutcome, Field(strict=False)]
    evidence: Annotated[Memo, Field(min_length=1)]


class ForceBody(RuleBody):
    """End a payment against what the bank says, or without its word; a second operator has to approve."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "not_paid", "reason": "The bank has closed"}})

    outcome: Annotated[BankOutcome, Field(strict=False)]


class ApproveBody(RuleBody):
    """Agree to what another operator has proposed."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Seen the bank's letter"}})
