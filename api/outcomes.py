"""What the transfers that this process carries out have come to, known here before their workflows have ended.

The step's commit decides a transfer; that its workflow ends with the same outcome is a matter of bookkeeping. Nothing
depends on what is heard here: who hears nothing asks the workflow, and in the end the ledger.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from domain.contracts.payments import PaymentRequest, PaymentResult, StepResult

Heard = asyncio.Future[PaymentResult | None]


class Outcomes:
    """Brings the outcome of a first step from the hosted worker to the requests that wait for it."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Heard]] = {}

    @contextmanager
    def awaited(self, workflow_id: str) -> Iterator[Heard]:
        """The payment's result if its first step is taken here and ends it; None if that step is no end of it."""
        heard: Heard = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(workflow_id, [])
        waiting.append(heard)
        try:
            yield heard
        finally:
            waiting.remove(heard)
            if not waiting:
                self._waiting.pop(workflow_id, None)

    def hear(self, request: PaymentRequest, outcome: StepResult | None) -> None:
        """See domain.contracts.activities.FirstStepWitness."""
        result = _result_of(outcome) if outcome is not None and outcome.status.final else None
        for heard in self._waiting.get(request.workflow_id, ()):
            if not heard.done():
                heard.set_result(result)


def _result_of(outcome: StepResult) -> PaymentResult:
    return PaymentResult(
        transaction_id=outcome.transaction_id,
        status=outcome.status,
        failure=outcome.failure,
        replayed=outcome.replayed,
        fingerprint=outcome.fingerprint,
    )
