"""librdkafka's in-process Kafka broker as a process of its own: `python -m infra.local.broker DISCOVERY_FILE`.

It picks its own port, so it says where it is in the discovery file: {"bootstrap", "broker_id", "pid"}. It keeps
nothing over a restart; `broker_id` is new at each start, and tells the relay to publish again what is unconfirmed.
"""

import json
import os
import signal
import sys
import uuid
from pathlib import Path

from confluent_kafka import Producer

START_SECONDS = 10


def write_atomically(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)


def serve(discovery: Path) -> None:
    """Run the broker until SIGTERM or SIGINT. Raises KafkaException if it does not start."""
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    host = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 4})
    broker = next(iter(host.list_topics(timeout=START_SECONDS).brokers.values()))
    found = {"bootstrap": f"{broker.host}:{broker.port}", "broker_id": str(uuid.uuid4()), "pid": os.getpid()}
    write_atomically(discovery, json.dumps(found))
    signal.sigwait(stops)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
