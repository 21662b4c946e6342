"""A transfer: one step, one commit, where both wallets are on one shard; otherwise sent, received, completed."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.contracts.payments import PaymentRequest, PaymentResult, StepResult
    from domain.contracts.workflows import TRANSFER_WORKFLOW
    from domain.transactions import Step, StepDecision
    from workflows.payment import Payment


@workflow.defn(name=TRANSFER_WORKFLOW)
class TransferWorkflow(Payment):
    """Moves money from one wallet to another, perhaps out of a hold, or records why not.

    Across shards the money is on its way after the first step. What the receiver's shard records decides where it ends:
    with the receiver, or back with the sender.
    """

    @workflow.init
    def __init__(self, request: PaymentRequest) -> None:
        super().__init__(request)
        self._received: StepResult | None = None

    @workflow.run
    async def run(self, request: PaymentRequest) -> PaymentResult:
        """See the class."""
        return await self.until_done(self._transfer())

    def why_not_cancel(self) -> str | None:
        """Too late once the receiver's shard has recorded an outcome; within a shard there is nothing in between."""
        if self.first is None or self.first.status.final:
            return super().why_not_cancel()
        if self._received is not None:
            return f"The receiver's shard has {self._received.decision} it already."
        return None

    async def _transfer(self) -> PaymentResult:
        settled = await self.first_step(self.request.transfer_step)
        if not settled.status.final:
            return await self._across_shards()
        # A paid transfer saves the attribute's event: nearly all of them are, and the ledger knows.
        return self.result_of(settled) if settled.failure is None else self.done(settled)

    async def _across_shards(self) -> PaymentResult:
        received = self._received = await self.receive()
        if received.decision is StepDecision.POSTED:
            return self.done(await self.step(Step.COMPLETE_TRANSFER))
        return self.done(await self.step(Step.REVERSE_TRANSFER, received.failure))
