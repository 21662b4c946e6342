"""A transfer: one step, one commit."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.payments import PaymentRequest, PaymentResult
    from domain.contracts.workflows import TRANSFER_WORKFLOW
    from domain.transactions import Step
    from workflows.payment import Payment


@workflow.defn(name=TRANSFER_WORKFLOW)
class TransferWorkflow(Payment):
    """Moves money from one wallet to another, or records why not."""

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        return await self.until_done(self._transfer())

    async def _transfer(self) -> PaymentResult:
        settled = await self.first_step(Step.SETTLE_TRANSFER)
        # A paid transfer saves the attribute's event: nearly all of them are, and the ledger knows.
        return self.result_of(settled) if settled.failure is None else self.done(settled)
