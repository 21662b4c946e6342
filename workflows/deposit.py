"""A deposit: record, pull from the bank, credit the wallet when the bank accepts, settle when the bank settles."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.activities import PULL_FROM_BANK
    from domain.contracts.payments import PaymentRequest, PaymentResult
    from domain.contracts.workflows import DEPOSIT_WORKFLOW
    from domain.transactions import Step
    from workflows.bank import BankPayment, why_unpaid


@workflow.defn(name=DEPOSIT_WORKFLOW)
class DepositWorkflow(BankPayment):
    """Brings money from a linked bank account into a wallet."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        return await self.until_done(self._deposit())

    async def _deposit(self) -> PaymentResult:
        recorded = await self.first_step(Step.RECORD_DEPOSIT)
        if recorded.status.final:
            return self.done(recorded)
        answer = await self.ask_bank(PULL_FROM_BANK)
        if failure := why_unpaid(answer):
            failed = await self.step(Step.FAIL_DEPOSIT, failure)
            await self.until_bank_agrees(answer)
            return self.done(failed)
        await self.step(Step.CREDIT_DEPOSIT, rail=self.rail)
        await self.until_settled(answer)
        return self.done(await self.step(Step.SETTLE_DEPOSIT, rail=self.rail))
