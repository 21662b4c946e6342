"""Temporal: the client that every role shares, with one data converter for clients, workers and replayers."""

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from domain.errors import WorkflowsUnavailable
from infra.settings import Settings

DATA_CONVERTER = pydantic_data_converter


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
