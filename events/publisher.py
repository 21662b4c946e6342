"""A producer for one broker: what it was given is on the broker, or it says so."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from domain.errors import BrokerUnavailable
from events.messages import Outgoing
from infra.kafka import Broker, let_go, producer_config

LOOK_UP_SECONDS: Final = 0.25


@contextmanager
def fatal_named() -> Iterator[None]:
    """An idempotent producer that a broker has forgotten, or never knew, is of no use any more: another begins anew."""
    try:
        yield
    except KafkaException as error:
        raise BrokerUnavailable(f"the producer has ended: {error}") from error


class Publisher:
    """Good until its first failure; then `close` it and make another."""

    def __init__(self, broker: Broker) -> None:
        self._producer = Producer(producer_config(broker))

    async def publish(self, messages: Sequence[Outgoing], wanted: Callable[[], bool]) -> None:
        """Deliver all, in order within a lane. Raises BrokerUnavailable when any is not known to be delivered.

        `wanted` is asked now and then while the broker does not answer; when it says no, the wait ends.
        """
        failures: list[KafkaError] = []

        def report(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        try:
            for message in messages:
                self._producer.produce(
                    message.stream.topic,
                    message.value,
                    message.key,
                    message.stream.lane,
                    headers=list(message.headers.items()),
                    on_delivery=report,
                )
        except (KafkaException, BufferError) as error:
            raise BrokerUnavailable(f"the producer takes nothing: {error}") from error
        with fatal_named():
            while await asyncio.to_thread(self._producer.flush, LOOK_UP_SECONDS):
                if failures or not wanted():
                    break
        if failures or len(self._producer):
            raise BrokerUnavailable(failures[0].str() if failures else "the wait for the broker was given up")

    def listen(self) -> None:
        """Hear what the client has to say while nothing is published. Raises BrokerUnavailable."""
        with fatal_named():
            self._producer.poll(0)

    async def close(self) -> None:
        """Forget what is not delivered, and let go of the broker."""

        def purge_and_close() -> None:
            with suppress(KafkaException):  # It may have ended with a fatal error, and says so once more.
                self._producer.purge()
                self._producer.close()

        await let_go("relay", purge_and_close)
