"""Batches and returns that need a person: what is parked and is no payment. Temporal is where they are found."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from domain import search_attributes as named
from domain.contracts.batches import TRANSFER_BATCH_WORKFLOW
from domain.contracts.operators import AttentionFilter
from domain.contracts.returns import RETURN_WORKFLOW
from domain.contracts.workflows import RETRY_UPDATE, OperatorCommand
from domain.errors import CannotRetry, InvalidCursor, NotFound, WorkflowsUnavailable

KINDS: Final = {TRANSFER_BATCH_WORKFLOW: "transfer_batch", RETURN_WORKFLOW: "return"}
_METADATA_QUERY: Final = "__temporal_workflow_metadata"
_ENDED: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedWorkflow:
    """A batch or a return. `since` is None where it is not parked, `details` where nobody asked for them."""

    workflow_id: str
    kind: str
    running: bool
    client_id: str | None
    bank: str | None
    transaction_id: str | None
    step: str | None
    reason: str | None
    since: datetime | None
    details: str | None = None


class ParkedWorkflows:
    """Reads and tells the workflows that are no payments."""

    def __init__(self, client: Client, timeout_seconds: float) -> None:
        self._client = client
        self._timeout = timedelta(seconds=timeout_seconds)

    async def page(
        self, wanted: AttentionFilter, *, after: bytes | None, limit: int
    ) -> tuple[Sequence[ParkedWorkflow], bytes | None]:
        """Those that run and are parked, newest first, and where the next page begins.

        Raises InvalidCursor and WorkflowsUnavailable.
        """
        found = self._client.list_workflows(
            _query(wanted), page_size=limit, next_page_token=after, rpc_timeout=self._timeout
        )
        try:
            await found.fetch_next_page()
        except RPCError as error:
            if after is not None and error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidCursor from error
            raise WorkflowsUnavailable from error
        return [_parked(item) for item in found.current_page or ()], found.next_page_token or None

    async def one(self, workflow_id: str) -> ParkedWorkflow:
        """One of them as it is now, with what the Temporal UI says of it. Raises NotFound, WorkflowsUnavailable."""
        handle = self._client.get_workflow_handle(workflow_id)
        with _reached():
            described = await handle.describe(rpc_timeout=self._timeout)
            if described.workflow_type not in KINDS:
                raise NotFound
            metadata: WorkflowMetadata = await handle.query(
                _METADATA_QUERY, result_type=WorkflowMetadata, rpc_timeout=self._timeout
            )
        return _parked(described, metadata.current_details)

    async def retry(self, workflow_id: str, by: str, reason: str, update_id: str) -> None:
        """Have it try again now; told once for each update's id. Raises CannotRetry and WorkflowsUnavailable."""
        handle = self._client.get_workflow_handle(workflow_id)
        command = OperatorCommand(by=by, reason=reason)
        try:
            await handle.execute_update(RETRY_UPDATE, command, id=update_id, result_type=str, rpc_timeout=self._timeout)
        except WorkflowUpdateFailedError as error:
            why = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
            raise CannotRetry(why) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise WorkflowsUnavailable("The workflow does not answer.") from error
        except RPCError as error:
            if error.status in _ENDED:
                raise CannotRetry("The workflow has ended.") from error
            raise WorkflowsUnavailable from error


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise NotFound from error
        raise WorkflowsUnavailable from error
    except (WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        raise WorkflowsUnavailable("The workflow does not answer.") from error


def _query(wanted: AttentionFilter) -> str:
    """The filter as Temporal reads it; its words have no quotes in them."""
    types = ", ".join(f"'{kind}'" for kind in KINDS)
    reason = f"= '{wanted.reason}'" if wanted.reason is not None else "IS NOT NULL"
    conditions = ["ExecutionStatus = 'Running'", f"WorkflowType IN ({types})", f"{named.ATTENTION} {reason}"]
    if wanted.step is not None:
        conditions.append(f"{named.ATTENTION_STEP} = '{wanted.step}'")
    if wanted.bank is not None:
        conditions.append(f"{named.BANK} = '{wanted.bank}'")
    if wanted.before is not None:
        conditions.append(f"{named.ATTENTION_SINCE} < '{wanted.before.isoformat()}'")
    return " AND ".join(conditions)


def _parked(found: WorkflowExecution | WorkflowExecutionDescription, details: str | None = None) -> ParkedWorkflow:
    said = found.typed_search_attributes

    def word(name: str) -> str | None:
        return said.get(SearchAttributeKey.for_keyword(name))

    return ParkedWorkflow(
        workflow_id=found.id,
        kind=KINDS[found.workflow_type],
        running=found.status is WorkflowExecutionStatus.RUNNING,
        client_id=word(named.CLIENT_ID),
        bank=word(named.BANK),
        transaction_id=word(named.TRANSACTION_ID),
        step=word(named.ATTENTION_STEP),
        reason=word(named.ATTENTION),
        since=said.get(SearchAttributeKey.for_datetime(named.ATTENTION_SINCE)),
        details=details,
    )
