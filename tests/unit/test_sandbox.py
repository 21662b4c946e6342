"""What the workflow runner leaves out must make no difference to the data converter it runs beside."""

import pytest
from temporalio.converter import ActivitySerializationContext, SerializationContext, WorkflowSerializationContext

from infra.temporal import DATA_CONVERTER

WORKFLOW = WorkflowSerializationContext(namespace="default", workflow_id="w")
ACTIVITY = ActivitySerializationContext(
    namespace="default",
    workflow_id="w",
    workflow_type="TransferWorkflow",
    activity_type="settle_transfer",
    activity_id="1",
    activity_task_queue="transfers",
    is_local=True,
)


@pytest.mark.parametrize("context", [WORKFLOW, ACTIVITY])
def test_the_data_converter_asks_for_no_context(context: SerializationContext) -> None:
    assert DATA_CONVERTER.with_context(context) is DATA_CONVERTER
    assert DATA_CONVERTER.external_storage is None
