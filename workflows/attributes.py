"""Typed search attributes, made from the one registry."""

from typing import Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from domain import search_attributes

TRANSACTION_ID: Final = SearchAttributeKey.for_keyword(search_attributes.TRANSACTION_ID)
STATUS: Final = SearchAttributeKey.for_keyword(search_attributes.STATUS)
ATTENTION: Final = SearchAttributeKey.for_keyword(search_attributes.ATTENTION)
ATTENTION_STEP: Final = SearchAttributeKey.for_keyword(search_attributes.ATTENTION_STEP)
ATTENTION_SINCE: Final = SearchAttributeKey.for_datetime(search_attributes.ATTENTION_SINCE)
