"""From the ages of events and a drain to figures."""

import pytest

from benchmarks.events.measure import Found
from benchmarks.events.report import figures_of


def found(**changes: object) -> Found:
    """A hundred transfers of three events each, then thirty thousand events drained in ten seconds."""
    made = Found(
        transfers=100,
        rate=50.0,
        ages=[float(age) for age in range(1, 301)],
        relay_us=10.0,
        posting_us=400.0,
        drained=30_000,
        drain_seconds=10.0,
        posting_rate=2_000.0,
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_drain_is_compared_in_transfers() -> None:
    figures = figures_of(found(), 100.0, "…")
    assert figures["events_drain_rate"].value == 3_000
    assert (figures["events_drain_to_express"].value, figures["events_drain_to_express"].met) == (10.0, True)
    assert figures["events_drain_to_posting"].value == 0.5
    assert figures["events_half_load"].value == 150
    assert (figures["events_to_consumer_p50"].value, figures["events_to_consumer_p99"].value) == (150, 297)


@pytest.mark.parametrize(("relay_us", "met"), [(19.0, True), (21.0, False)])
def test_the_relay_may_take_a_twentieth_of_a_posting(relay_us: float, met: bool) -> None:
    assert figures_of(found(relay_us=relay_us), None, "…")["events_relay_to_posting_cpu"].met is met


def test_without_a_broker_or_an_express_lane_nothing_is_made_up() -> None:
    figures = figures_of(found(drained=0, drain_seconds=None), 100.0, "…")
    assert (figures["events_drain_to_express"].value, figures["events_drain_to_express"].met) == (None, False)
    assert figures_of(found(), None, "…")["events_drain_to_express"].value is None
    assert figures_of(found(failed=1), 100.0, "…")["events_failed"].met is False
