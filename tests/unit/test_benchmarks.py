"""The benchmarks' own judgement: what a percentile is, when a rate is kept up, which rate the search finds."""

import asyncio
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.__main__ import page_text
from benchmarks.capacity import CAPACITY_PAGE, capacity_text
from benchmarks.figures import BEGIN, END, PAGE, Figure, read, record, table, write_page
from benchmarks.lanes.measure import Cost
from benchmarks.ledger.postings import Drive, Reach, pairs
from benchmarks.load import Kind, Outcome, Plan, Sample, carry_out, schedule
from benchmarks.processes import cpu_seconds
from benchmarks.tables import Growth, Tables
from benchmarks.trial import GeneratorFailedError, Search, Trial, merged, percentile
from benchmarks.trial import carry_out as trial_of
from domain.ids import WalletId
from infra.settings import Settings
from ledger.shards import shard_of


def plan(**changes: object) -> Plan:
    return Plan.model_validate(
        {"kind": Kind.BARE, "url": "http://127.0.0.1:1", "run": "test", "seconds": 10, "rate": 10, **changes}
    )


def trial(latency_seconds: float, *, grows_by: float = 0.0, lost: int = 0) -> Trial:
    """A hundred requests over ten seconds, each taking `grows_by` seconds longer than the one before."""
    samples = []
    for number in range(100):
        due = number / 10
        end = due + latency_seconds + number * grows_by
        samples.append(Sample(due=due, sent=due, accepted=end, completed=end, outcome=Outcome.SUCCEEDED))
    for sample in samples[:lost]:
        sample.outcome, sample.completed = Outcome.DROPPED, None
    return Trial(plan(), samples, 0.1)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7
    assert percentile([], 50) is None


def test_even_arrivals_are_evenly_spaced_and_poisson_arrivals_are_as_many() -> None:
    assert schedule(plan(rate=4, seconds=1)) == [0, 0.25, 0.5, 0.75]
    poisson = schedule(plan(arrivals="poisson"))
    assert len(poisson) == 100
    assert poisson == sorted(poisson)
    assert 0 <= poisson[0] < poisson[-1] <= 10
    assert poisson != schedule(plan(arrivals="poisson", seed=2))


def test_a_steady_delay_is_kept_up_and_a_growing_one_is_not() -> None:
    assert trial(0.2).kept_up
    assert trial(0.2, grows_by=0.002).kept_up
    assert not trial(0.2, grows_by=0.01).kept_up


def test_a_backlog_that_is_large_but_does_not_grow_is_not_kept_up() -> None:
    assert trial(1.2).kept_up
    assert not trial(2.5).kept_up


def test_one_lost_request_is_enough_not_to_keep_up() -> None:
    assert not trial(0.2, lost=1).kept_up


def test_latency_counts_from_the_scheduled_moment() -> None:
    late = Sample(due=1, sent=1.5, accepted=1.6, completed=1.7, outcome=Outcome.SUCCEEDED)
    seen = Trial(plan(), [late], 0.1)
    assert seen.lateness_ms == pytest.approx([500])
    assert seen.acceptance_ms == pytest.approx([600])
    assert seen.completion_ms == pytest.approx([700])


def test_merged_slices_keep_every_latency() -> None:
    together = merged([trial(0.1), trial(0.3)])
    assert len(together.samples) == 200
    assert together.plan.seconds == 20
    assert sorted(together.completion_ms) == pytest.approx([100] * 100 + [300] * 100)
    assert together.kept_up


@pytest.mark.parametrize("capacity", [8.0, 17.0, 40.0, 55.0, 70.0])
def test_the_search_finds_a_rate_just_below_what_is_kept_up(capacity: float) -> None:
    search, tried = Search(40, 6), 0
    while not search.done:
        tried += 1
        search.note(search.rate <= capacity)
    assert search.kept <= capacity
    assert search.kept > capacity * 0.8
    assert tried <= 10


def test_the_search_gives_up_where_no_rate_is_kept_up() -> None:
    search = Search(40, 3)
    while not search.done:
        search.note(kept_up=False)
    assert search.kept == 0


class SlowServer:
    """Answers one request after the other, each after `seconds`; refuses every tenth where it is asked to."""

    def __init__(self, seconds: float, *, refuses: bool = False) -> None:
        self._seconds, self._refuses = seconds, refuses
        self._turn = asyncio.Lock()
        self.keys: list[str] = []
        self.callers: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            length = re.search(rb"content-length: (\d+)", head.lower())
            assert length
            body = await reader.readexactly(int(length[1]))
            async with self._turn:
                await asyncio.sleep(self._seconds)
                self.keys.append(body.decode())
            status = "503 No" if self._refuses and len(self.keys) % 10 == 0 else "202 Accepted"
            answer = '{"status": "succeeded"}'
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""


async def against(server: SlowServer, **changes: object) -> Trial:
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        wanted = plan(url=f"http://127.0.0.1:{port}", **changes)
        record = await carry_out(wanted)
        for caller in server.callers:
            caller.cancel()
        await asyncio.gather(*server.callers, return_exceptions=True)
    return Trial(wanted, record.samples, 0.1)


async def test_the_open_loop_does_not_wait_for_a_slow_server() -> None:
    server = SlowServer(0.05)
    seen = await against(server, rate=100, seconds=1, drain_seconds=0.5)
    assert not seen.kept_up
    assert seen.count(Outcome.DROPPED) > 40
    assert seen.count(Outcome.DROPPED) + seen.count(Outcome.SUCCEEDED) == 100
    assert max(seen.completion_ms) > 300


async def test_refusals_are_counted_as_failed() -> None:
    seen = await against(SlowServer(0, refuses=True), rate=100, seconds=0.5)
    assert (seen.count(Outcome.FAILED), seen.count(Outcome.SUCCEEDED)) == (5, 45)


async def test_nobody_there_is_failed_too_and_the_generator_is_a_process_of_its_own() -> None:
    seen = await trial_of(plan(rate=20, seconds=0.2))
    assert [sample.outcome for sample in seen.samples] == [Outcome.FAILED] * 4
    assert 0 < seen.generator_load < 1


async def test_several_generators_share_a_plan_under_keys_of_their_own() -> None:
    server = SlowServer(0)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        seen = await trial_of(plan(url=f"http://127.0.0.1:{port}", rate=40, seconds=0.5), 2)
        for caller in server.callers:
            caller.cancel()
        await asyncio.gather(*server.callers, return_exceptions=True)
    assert len(seen.samples) == seen.count(Outcome.SUCCEEDED) == len(set(server.keys)) == 20
    assert [sample.due for sample in seen.samples] == sorted(sample.due for sample in seen.samples)


async def test_a_generator_that_breaks_says_why() -> None:
    with pytest.raises(GeneratorFailedError, match="IndexError"):
        await trial_of(plan(kind=Kind.DEPOSIT, rate=20, seconds=0.2))


async def test_the_closed_loop_keeps_as_many_in_flight_as_it_was_told() -> None:
    server, begin = SlowServer(0.01), time.monotonic()
    seen = await against(server, rate=None, seconds=0.5, at_once=3)
    assert seen.count(Outcome.SUCCEEDED) == len(seen.samples) == len(set(server.keys)) > 3
    assert time.monotonic() - begin < 5


def test_a_target_is_met_or_missed_and_nothing_measured_is_missed() -> None:
    def met(value: float | None, better: str, target: float | None) -> bool | None:
        return Figure.of(value, "ms", "higher" if better == "higher" else "lower", "make bench", target).met

    assert met(0.7, "higher", 0.7) is True
    assert met(0.69, "higher", 0.7) is False
    assert met(1.51, "lower", 1.5) is False
    assert met(None, "lower", 1.5) is False
    assert met(3, "lower", None) is None


def test_recording_keeps_the_figures_of_others(tmp_path: Path) -> None:
    file, page = tmp_path / "latest.json", tmp_path / "page.md"
    record({"theirs": Figure.of(1, "s", "lower", "make theirs")}, file)
    record({"ours": Figure.of(2, "s", "lower", "make bench", 1)}, file)
    record({"ours": Figure.of(3, "s", "lower", "make bench", 1)}, file)
    figures = read(file)
    assert {name: figure.value for name, figure in figures.items()} == {"theirs": 1, "ours": 3}
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(table(figures), page)
    assert "**missed**" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert "old" not in page.read_text()


def test_what_is_measured_no_more_is_dropped_with_its_kind(tmp_path: Path) -> None:
    file, figure = tmp_path / "latest.json", Figure.of(1, "bytes", "lower", "make bench")
    record({"bytes_old": figure, "rate": figure}, file)
    assert list(record({"bytes_new": figure}, file, instead_of=("bytes_",))) == ["rate", "bytes_new"]
    assert list(read(file)) == ["rate", "bytes_new"]


def test_the_pages_show_the_last_results() -> None:
    assert f"{BEGIN}\n{page_text()}\n{END}" in PAGE.read_text()
    assert f"{BEGIN}\n{capacity_text(read())}\n{END}" in CAPACITY_PAGE.read_text()


def test_every_figure_is_on_one_of_the_pages() -> None:
    pages = page_text() + capacity_text(read())
    assert [name for name in read() if f"`{name}`" not in pages and not name.startswith(("cores_", "bytes_"))] == []


def row_of(text: str, first: str) -> list[str]:
    """The cells of the first row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_capacity_follows_from_the_figures() -> None:
    costs = {"cores_express_api": 2.0, "cores_express_postgres": 0.5, "bytes_express_postings": 1000.0}
    costs |= {"bytes_express_transactions": 500.0, "bytes_express_wal": 3000.0}
    costs |= {"posting_rate": 4000.0, "cross_shard_to_same_cpu": 3.0}
    text = capacity_text({name: Figure.of(value, "", "lower", "make them") for name, value in costs.items()})
    assert row_of(text, "**together**") == ["–", "**2.50**", "–"]
    assert row_of(text, "**all at 10,000/s**") == ["–", "50", "–"]
    assert row_of(text, "`postings`") == ["1,000", "–"]
    assert row_of(text, "7.3 billion transactions, a year") == ["10.9 TB", "21.9 TB"]
    assert row_of(text, "1") == ["0%", "1.00", "5.0"]
    assert row_of(text, "2") == ["50%", "2.00", "10.0"]
    assert "`make them`" in text


def test_what_was_not_measured_is_not_made_up() -> None:
    text = capacity_text({})
    assert row_of(text, "`api`") == ["–", "–", "–"]
    assert row_of(text, "16") == ["94%", "–", "–"]


def test_growth_is_by_table_and_transfer() -> None:
    before = Tables(10, {"ledger.postings": 8192, "ledger.shard": 8192}, log=100)
    after = Tables(110, {"ledger.postings": 28192, "ledger.shard": 8192, "ledger.outbox": 100_000}, log=50_100)
    growth = Growth.between(before, after)
    assert growth.by_table == {"ledger.outbox": 1000, "ledger.postings": 200}
    assert (growth.transfers, growth.total, growth.log) == (100, 1200, 500)


def test_a_cost_is_of_a_thousand_transfers_a_second() -> None:
    cost = Cost(500, {"api": 1.0, "express": 0.5})
    assert cost.cores("api", "express", "nobody") == pytest.approx(3)


def test_cpu_counts_children_that_have_ended() -> None:
    before = cpu_seconds([os.getpid()])
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert cpu_seconds([os.getpid()]) > before
    assert cpu_seconds([2**30]) == 0


@pytest.mark.parametrize("reach", [Reach.SAME_SHARD, Reach.OTHER_SHARD])
def test_receivers_are_kept_where_they_were_asked_for(reach: Reach) -> None:
    wallets = tuple(WalletId.new(bucket) for bucket in range(0, 4096, 512))
    for sender, receiver in islice(pairs(Drive(Settings(), wallets, callers=1, seconds=1, reach=reach)), 50):
        same = shard_of(sender.bucket, 2) == shard_of(receiver.bucket, 2)
        assert same is (reach is Reach.SAME_SHARD)
