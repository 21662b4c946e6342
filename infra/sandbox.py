"""The SDK's workflow sandbox, without what our data converter never asks it for."""

from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class ContextFreeRunner(SandboxedWorkflowRunner):
    """A sandboxed runner for a data converter to which the context of a payload makes no difference.

    The SDK (1.35) enters the sandbox several times for each payload to learn which workflow or activity it belongs
    to; that costs more than to convert the payload. A codec or storage that wants to know needs the SDK's own runner.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See the SDK."""
        instance = super().create_instance(det)
        instance.get_serialization_context = _no_context  # type: ignore[method-assign, assignment]
        instance.get_external_store_context = _no_store_context  # type: ignore[method-assign, assignment]
        return instance


def _no_context(_command: object) -> SerializationContext | None:
    return None


def _no_store_context(_command: object) -> StorageDriverStoreContext:
    return StorageDriverStoreContext(target=None)
