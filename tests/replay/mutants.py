"""Withdrawals that somebody has changed carelessly: each does something else than the histories say."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import PULL_FROM_BANK, PUSH_TO_BANK
    from domain.contracts.payments import PaymentRequest, PaymentResult
    from domain.contracts.workflows import WITHDRAWAL_WORKFLOW
    from domain.transactions import Step
    from workflows.bank import BankPayment


@workflow.defn(name=WITHDRAWAL_WORKFLOW)
class CapturesFirst(BankPayment):
    """Takes two steps in another order."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        await self.first_step(Step.HOLD_WITHDRAWAL)
        await self.step(Step.CAPTURE_WITHDRAWAL)
        await self.ask_bank(PUSH_TO_BANK)
        return self.done(await self.step(Step.SETTLE_WITHDRAWAL))


@workflow.defn(name=WITHDRAWAL_WORKFLOW)
class ForgetsToSettle(BankPayment):
    """Leaves a step out."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        await self.first_step(Step.HOLD_WITHDRAWAL)
        await self.ask_bank(PUSH_TO_BANK)
        return self.done(await self.step(Step.CAPTURE_WITHDRAWAL))


@workflow.defn(name=WITHDRAWAL_WORKFLOW)
class PullsInstead(BankPayment):
    """Calls another activity."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        await self.first_step(Step.HOLD_WITHDRAWAL)
        await self.ask_bank(PULL_FROM_BANK)
        await self.step(Step.CAPTURE_WITHDRAWAL)
        return self.done(await self.step(Step.SETTLE_WITHDRAWAL))


@workflow.defn(name=WITHDRAWAL_WORKFLOW)
class PausesFirst(BankPayment):
    """Waits where nothing waited."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        await workflow.sleep(timedelta(seconds=1))
        await self.first_step(Step.HOLD_WITHDRAWAL)
        await self.ask_bank(PUSH_TO_BANK)
        await self.step(Step.CAPTURE_WITHDRAWAL)
        return self.done(await self.step(Step.SETTLE_WITHDRAWAL))


MUTANTS = (CapturesFirst, ForgetsToSettle, PullsInstead, PausesFirst)
