"""Everything the API reaches, made once; nothing connects before it is used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from api.acceptance import Acceptance
from api.balances import Balances
from api.batch_acceptance import BatchAcceptance
from api.cancelling import Cancelling
from api.express import ExpressLane, Starter
from api.holding import Holding
from api.hopeless import HopelessDebits
from api.idempotency import Shortcut
from api.metrics import CACHE_ERRORS
from api.operating import Operating
from api.parties import Parties
from api.rate_limits import RateLimits
from api.security import KeyRing
from api.sender_lock import OneAtATime
from api.starting import PaymentStarter
from api.temporal_link import HostedWorker, TemporalLink
from api.waiting import Waiting
from bank_adapters.breaker_states import SharedStates
from bank_adapters.port import BankAdapter
from bank_adapters.registry import bank_names, open_bank
from domain.clock import Clock
from domain.errors import UnknownBank
from events.history_databases import HistoryDatabases
from events.history_lag import HistoryLag
from events.webhook_records import WebhookRecords
from infra.bank_events import Soon, handle_bank_events
from infra.database import make_engine
from infra.redis import Cache, make_redis
from infra.secrets import Cipher
from infra.settings import Settings
from ledger.bank_events import BankEvents
from ledger.batches import Batches
from ledger.directory import Directory
from ledger.micro_deposits import MicroDepositLinks
from ledger.opening import open_ledger
from ledger.service import LedgerService
from ledger.shards import Shards
from ledger.webhook_endpoints import WebhookEndpoints

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Backends:
    """What routes work with."""

    settings: Settings
    engine: AsyncEngine
    ledger: LedgerService
    directory: Directory
    cipher: Cipher
    shards: Shards
    clock: Clock
    micro_deposits: MicroDepositLinks
    bank_events: BankEvents
    handle_bank_events: Soon
    webhook_endpoints: WebhookEndpoints
    webhook_records: WebhookRecords
    history: HistoryDatabases
    history_lag: HistoryLag
    cache: Cache
    rate_limits: RateLimits
    balances: Balances
    temporal: TemporalLink
    banks: Mapping[str, BankAdapter]
    breakers: SharedStates
    keys: KeyRing
    parties: Parties
    acceptance: Acceptance
    batches: Batches
    batch_acceptance: BatchAcceptance
    holding: Holding
    waiting: Waiting
    cancelling: Cancelling
    operating: Operating

    def bank(self, name: str | None) -> BankAdapter:
        """The bank of that name; without a name the first in the registry. Raises UnknownBank."""
        found = self.banks.get(name if name is not None else next(iter(self.banks)))
        if found is None:
            raise UnknownBank(f"There is no bank {name!r}; known: {', '.join(self.banks)}.")
        return found

    async def start(self) -> None:
        """Begin to connect to Temporal. Raises SettingsInvalid without keys for the secrets at rest."""
        self.cipher.demand_keys()
        await self.temporal.start()

    async def aclose(self) -> None:
        """Let the hosted worker drain, then let go of all connections."""
        await self.temporal.aclose()
        for bank in self.banks.values():
            await bank.aclose()
        await self.breakers.aclose()
        await self.cache.aclose()
        await self.rate_limits.aclose()
        await self.directory.aclose()
        await self.history.aclose()
        await self.batches.aclose()
        await self.ledger.aclose()


def _note_cache_error(operation: str, error: Exception) -> None:
    CACHE_ERRORS.labels(operation).inc()
    log.warning("redis.unreachable", operation=operation, error=str(error))


def _way(
    settings: Settings, ledger: LedgerService, balances: Balances, cache: Cache, temporal: TemporalLink
) -> Starter:
    """How payments get recorded: hopeless debits are turned away, crowds of a sender shed, the rest goes its lane."""
    way: Starter = PaymentStarter(temporal)
    if settings.transfer_lane == "express":
        way = ExpressLane(settings, ledger, way)
    if settings.sender_lock:
        way = OneAtATime(settings, cache, way)
    return HopelessDebits(settings, ledger, balances, way) if settings.preliminary_check else way


def open_backends(settings: Settings, hosted_worker: HostedWorker | None, clock: Clock) -> Backends:
    """Put everything together."""
    ledger = open_ledger(settings, clock)
    engine = make_engine(settings.shard_urls[0], settings, application_name="sagapay-api")
    cipher = Cipher.from_settings(settings)
    directory = Directory(engine, cipher)
    shards = Shards(settings)
    parties, batches = Parties(directory, ledger, shards), Batches(shards)
    cache = Cache(make_redis(settings), _note_cache_error)
    shortcut, balances = Shortcut(cache), Balances(cache, ledger)
    temporal = TemporalLink(settings, ledger, hosted_worker)
    waiting = Waiting(ledger, temporal)
    rate_limits = RateLimits(settings, cache)
    way = _way(settings, ledger, balances, cache, temporal)
    acceptance = Acceptance(settings, ledger, shortcut, way, rate_limits=rate_limits, clock=clock)
    return Backends(
        settings=settings,
        engine=engine,
        ledger=ledger,
        directory=directory,
        cipher=cipher,
        shards=shards,
        clock=clock,
        micro_deposits=MicroDepositLinks(directory),
        bank_events=BankEvents(engine, cipher),
        handle_bank_events=Soon(lambda: handle_bank_events(temporal.client)),
        webhook_endpoints=WebhookEndpoints(engine, cipher),
        webhook_records=WebhookRecords(engine),
        history=HistoryDatabases(settings),
        history_lag=HistoryLag([shard.engine for shard in shards.all]),
        cache=cache,
        rate_limits=rate_limits,
        balances=balances,
        temporal=temporal,
        banks={name: open_bank(name, settings) for name in bank_names()},
        breakers=SharedStates(make_redis(settings)),
        keys=KeyRing(directory),
        parties=parties,
        acceptance=acceptance,
        batches=batches,
        batch_acceptance=BatchAcceptance(batches, parties, shards, shortcut, temporal, clock=clock),
        holding=Holding(ledger, parties, acceptance, rate_limits, clock),
        waiting=waiting,
        cancelling=Cancelling(settings, ledger, temporal, waiting),
        operating=Operating(settings, ledger, temporal),
    )


async def _backends(request: Request) -> Backends:
    found: Backends = request.app.state.backends
    return found


Reach = Annotated[Backends, Depends(_backends)]
