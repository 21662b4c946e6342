"""Temporal: the client that every role shares, with one data converter for clients, workers and replayers."""

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from domain import search_attributes
from domain.contracts.payments import PaymentRequest
from domain.errors import WorkflowsUnavailable
from infra.settings import Settings

DATA_CONVERTER = pydantic_data_converter

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
