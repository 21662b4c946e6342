"""docs/reference/events.md says what the code does: its message is one, and its metrics are all there are."""

from pathlib import Path
from typing import get_args

from domain.events import AnyEvent, Envelope, TransactionCompletedEvent
from events import metrics
from events.streams import TOPICS, Position
from infra.telemetry import REGISTRY

PAGE = (Path(__file__).parents[2] / "docs/reference/events.md").read_text()


def test_the_documented_message_is_one() -> None:
    shown = Envelope.model_validate_json(PAGE.split("```json\n")[1].split("```")[0])
    assert isinstance(shown.data, TransactionCompletedEvent)
    assert shown.key == shown.data.tx_id
    assert Position.parse(shown.position) > Position(0, 0)


def test_every_topic_and_type_is_listed() -> None:
    types = [kind.model_fields["type"].default for kind in get_args(AnyEvent)]
    assert [name for name in (*TOPICS, *types) if f"`{name}`" not in PAGE] == []


def test_every_metric_is_listed() -> None:
    assert metrics.LAG is not None
    ours = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith(("sagapay_relay_", "sagapay_consumer_"))
    }
    assert len(ours) >= 9
    assert [name for name in ours if f"`{name}" not in PAGE] == []
