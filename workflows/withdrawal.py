"""A withdrawal: hold, push to the bank, capture when the bank accepts, settle when it settles, or release the hold."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import PUSH_TO_BANK
    from domain.contracts.payments import PaymentRequest, PaymentResult
    from domain.contracts.workflows import WITHDRAWAL_WORKFLOW
    from domain.transactions import Step
    from workflows.bank import BankPayment, why_unpaid


@workflow.defn(name=WITHDRAWAL_WORKFLOW)
class WithdrawalWorkflow(BankPayment):
    """Pays money out of a wallet to a linked bank account.

    The hold is compensated by its release, and only when the bank has definitely not paid.
    """

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        return await self.until_done(self._withdraw())

    async def _withdraw(self) -> PaymentResult:
        held = await self.first_step(Step.HOLD_WITHDRAWAL)
        if held.status.final:
            return self.done(held)
        answer = await self.ask_bank(PUSH_TO_BANK)
        if failure := why_unpaid(answer):
            released = await self.step(Step.RELEASE_WITHDRAWAL, failure)
            await self.until_bank_agrees(answer)
            return self.done(released)
        await self.step(Step.CAPTURE_WITHDRAWAL, rail=self.rail)
        await self.until_settled(answer)
        return self.done(await self.step(Step.SETTLE_WITHDRAWAL, rail=self.rail))
