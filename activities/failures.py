"""Errors of the domain as Temporal failures: the code is the type, and it says whether a retry can help."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import BankUnavailable, BankUnknown, LedgerRejected, SagapayError

GROWTH: Final = 1.5
LONGEST_SECONDS: Final = 60.0
_MOST_GROWN: Final = 100
"""More would be too large a number, long after the longest."""


@contextmanager
def as_failures() -> Iterator[None]:
    """Turn a SagapayError into an ApplicationError of its code. Anything else is a bug and stays what it is.

    Outages and refusals are benign (they are part of the business); what the ledger calls never right is not.
    """
    try:
        yield
    except SagapayError as error:
        severe = isinstance(error, LedgerRejected)
        raise ApplicationError(
            error.detail,
            type=error.code,
            non_retryable=not error.retryable,
            next_retry_delay=_told_delay(error),
            category=ApplicationErrorCategory.UNSPECIFIED if severe else ApplicationErrorCategory.BENIGN,
            # With the stack traces of drivers it would be too large, and operators read only "exceeds size limit".
        ) from (error if severe else None)


def _told_delay(error: SagapayError) -> timedelta | None:
    """When the bank wants to be asked again, if it said so; later with each attempt, as without its word.

    A thousand payments that wait for one dead bank would otherwise all be tried at its pace.
    """
    if isinstance(error, BankUnavailable | BankUnknown) and error.retry_after_seconds is not None:
        backed_off = GROWTH ** min(activity.info().attempt - 1, _MOST_GROWN)
        return timedelta(seconds=max(error.retry_after_seconds, min(backed_off, LONGEST_SECONDS)))
    return None
