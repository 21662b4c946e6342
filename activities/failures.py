"""Errors of the domain as Temporal failures: the code is the type, and it says whether a retry can help."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import LedgerRejected, SagapayError


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
            category=ApplicationErrorCategory.UNSPECIFIED if severe else ApplicationErrorCategory.BENIGN,
            # With the stack traces of drivers it would be too large, and operators read only "exceeds size limit".
        ) from (error if severe else None)
