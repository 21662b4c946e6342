"""Temporal: the client that every role shares, with one data converter for clients, workers and replayers."""

from typing import Final

from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from domain import search_attributes
from domain.contracts.payments import PaymentRequest
from domain.errors import WorkflowsUnavailable
from infra.settings import Settings

_JSON: Final = PydanticJSONPlainPayloadConverter()


class PayloadConverter(CompositePayloadConverter):
    """The SDK's Pydantic converter, but with one JSON converter for the whole process.

    The SDK makes a payload converter for each workflow run; what it has learnt of our types must outlive the run.
    """

    def __init__(self) -> None:
        kept = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(_JSON if isinstance(each, JSONPlainPayloadConverter) else each for each in kept))


DATA_CONVERTER: Final = DataConverter(payload_converter_class=PayloadConverter)

_TRANSACTION_ID = SearchAttributeKey.for_keyword(search_attributes.TRANSACTION_ID)
_CLIENT_ID = SearchAttributeKey.for_keyword(search_attributes.CLIENT_ID)
_KIND = SearchAttributeKey.for_keyword(search_attributes.KIND)
_BANK = SearchAttributeKey.for_keyword(search_attributes.BANK)


def payment_attributes(request: PaymentRequest) -> TypedSearchAttributes:
    """What a payment's workflow can be searched by from its start."""
    pairs: list[SearchAttributePair[str]] = [
        SearchAttributePair(_TRANSACTION_ID, request.transaction_id),
        SearchAttributePair(_CLIENT_ID, request.client_id),
        SearchAttributePair(_KIND, request.kind.value),
    ]
    if request.bank is not None:
        pairs.append(SearchAttributePair(_BANK, request.bank))
    return TypedSearchAttributes(pairs)


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """A client. With `lazy` it connects when first used. Raises WorkflowsUnavailable."""
    try:
        return await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=DATA_CONVERTER,
            lazy=lazy,
        )
    except (RPCError, RuntimeError, OSError) as error:
        raise WorkflowsUnavailable(f"Temporal at {settings.temporal_address} does not answer: {error}") from error


async def start_once(
    client: Client,
    workflow: str,
    request: object,
    *,
    workflow_id: str,
    queue: str,
    attributes: TypedSearchAttributes,
    summary: str,
) -> bool:
    """Start a workflow that resumes what is recorded; False where it runs already, which Temporal itself decides.

    Raises RPCError and RuntimeError.
    """
    try:
        await client.start_workflow(
            workflow,
            request,
            id=workflow_id,
            task_queue=queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=attributes,
            static_summary=summary,
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
