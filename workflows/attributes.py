"""Typed search attributes, made from the one registry."""

from collections.abc import Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

with workflow.unsafe.imports_passed_through():
    from domain import search_attributes
    from domain.contracts.payments import Attention
    from domain.contracts.returns import ReturnRequest

TRANSACTION_ID: Final = SearchAttributeKey.for_keyword(search_attributes.TRANSACTION_ID)
STATUS: Final = SearchAttributeKey.for_keyword(search_attributes.STATUS)
BANK: Final = SearchAttributeKey.for_keyword(search_attributes.BANK)
ATTENTION: Final = SearchAttributeKey.for_keyword(search_attributes.ATTENTION)
ATTENTION_STEP: Final = SearchAttributeKey.for_keyword(search_attributes.ATTENTION_STEP)
ATTENTION_SINCE: Final = SearchAttributeKey.for_datetime(search_attributes.ATTENTION_SINCE)


def attention_updates(attention: Attention | None) -> Sequence[SearchAttributeUpdate[Any]]:
    """Makes a workflow findable by its attention, or no longer."""
    if attention is None:
        return [ATTENTION.value_unset(), ATTENTION_STEP.value_unset(), ATTENTION_SINCE.value_unset()]
    return [
        ATTENTION.value_set(attention.reason),
        ATTENTION_STEP.value_set(attention.step),
        ATTENTION_SINCE.value_set(attention.since),
    ]


def of_return(request: ReturnRequest) -> TypedSearchAttributes:
    """What a return can be found by before its payment is known."""
    return TypedSearchAttributes([SearchAttributePair(BANK, request.bank)])
