"""The inbox of what banks send: from its workflow to the activity, and from there to the payments.

| workflow | id | queue | input → result |
|---|---|---|---|
| BankEventsWorkflow | bank-events (who stores an event, or a schedule) | operations | nothing → BankEventsReport |

| activity | input | result |
|---|---|---|
| handle_bank_events | nothing | BankEventsReport |

The signal `stored` tells the workflow that there is more; the signal `bank_has_news` tells a payment with a bank to ask
its bank now.
"""

from dataclasses import dataclass
from typing import Final

BANK_EVENTS_WORKFLOW: Final = "BankEventsWorkflow"
BANK_EVENTS_WORKFLOW_ID: Final = "bank-events"
BANK_EVENTS_SCHEDULE: Final = "bank-events"
STORED_SIGNAL: Final = "stored"
BANK_HAS_NEWS_SIGNAL: Final = "bank_has_news"
HANDLE_BANK_EVENTS: Final = "handle_bank_events"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankEventsReport:
    """How many events were handled, and how many could not be and are tried again later."""

    handled: int
    put_off: int
