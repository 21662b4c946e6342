"""Every setting of every role, read from `SAGAPAY_…` variables once, validated before anything starts.

A role is apart from another by settings only. Where a server's address is not set, `make up` starts
an embedded one and sets it. docs/reference/settings.md is the table of these fields; a test keeps the two equal.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.availability import DepositTerms, Tier
from domain.contracts.payments import RetryPlan
from domain.contracts.wallets import WalletLimits
from domain.errors import SettingsInvalid
from domain.money import MAX_MINOR_UNITS
from domain.rails import Rail
from infra.setting_forms import (
    Address,
    Currency,
    HttpUrl,
    Mailbox,
    Port,
    PostgresUrl,
    RateLimit,
    RedisUrl,
    Seconds,
)

_PASSWORD = re.compile(r"(?<=:)[^@/]+(?=@)")

MOST_SHARDS: Final = 64
"""Each process keeps connections to every shard; more shards than this want another way to reach them."""


class Settings(BaseSettings):
    """What a role needs to know. Raises SettingsInvalid, which names the variable and what it wants."""

    model_config = SettingsConfigDict(env_prefix="SAGAPAY_", extra="ignore", frozen=True)

    # -- servers ---------------------------------------------------------------------------------
    shard_urls: Annotated[tuple[PostgresUrl, ...], NoDecode] = Field(
        default=(
            "postgresql://sagapay_app@127.0.0.1:15432/sagapay",
            "postgresql://sagapay_app@127.0.0.1:15432/sagapay_1",
        ),
        description="The ledger's databases as the application's role, one per shard, comma-separated; "
        "the directory lives on the first. Their number and order are for ever.",
    )
    migration_urls: Annotated[tuple[PostgresUrl, ...], NoDecode] = Field(
        default=(
            "postgresql://sagapay_owner@127.0.0.1:15432/sagapay",
            "postgresql://sagapay_owner@127.0.0.1:15432/sagapay_1",
        ),
        description="The same databases as the role that owns the tables; only migrations use it.",
    )
    history_urls: Annotated[tuple[PostgresUrl, ...], NoDecode] = Field(
        default=(),
        description="Databases of the history alone, as the application's role, comma-separated; each keeps an equal "
        "part of the wallets. Empty: the history is on the first shard.",
    )
    history_migration_urls: Annotated[tuple[PostgresUrl, ...], NoDecode] = Field(
        default=(), description="The same databases as the role that owns the tables; only migrations use it."
    )
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:16379/0", description="The cache.")
    temporal_address: Address = Field(default="127.0.0.1:7233", description="HOST:PORT of Temporal's frontend.")
    temporal_namespace: str = Field(default="default", description="Temporal's namespace.")
    temporal_ui_url: HttpUrl = Field(default="http://127.0.0.1:8233", description="Where operators look.")
    kafka_bootstrap: str | None = Field(
        default=None,
        description="Kafka's bootstrap servers. Unset: the embedded broker, found by the discovery file.",
    )
    state_dir: Path = Field(
        default=Path(".sagapay"), description="Data, logs and the discovery files of the embedded stack."
    )

    business_clock_file: Path | None = Field(
        default=None,
        description="For simulations: a file that says the business time (ISO 8601), which goes on from when it was "
        "written. Unset: the machine's time.",
    )
    encryption_keys_file: Path | None = Field(
        default=None,
        description="Keys of secrets at rest, the newest first. Unset: `encryption_keys` below the state directory.",
    )

    # -- roles -----------------------------------------------------------------------------------
    api_host: str = Field(default="127.0.0.1", description="The address the API listens on.")
    api_port: Port = Field(default=8000, description="The port the API listens on.")
    api_hosts_worker: bool = Field(
        default=True, description="The API polls the transfer queue itself, so that transfers start eagerly."
    )
    bank_host: str = Field(default="127.0.0.1", description="The address the simulated bank listens on.")
    bank_port: Port = Field(default=8100, description="The port the simulated bank listens on.")
    bank_url: HttpUrl = Field(default="http://127.0.0.1:8100", description="The simulated bank, as we call it.")
    bank_webhook_url: HttpUrl | None = Field(
        default=None, description="Where the simulated bank sends its events. Unset: nowhere."
    )
    bank_webhook_secrets_file: Path | None = Field(
        default=None,
        description="Secrets that sign the simulated bank's events, a line each. Unset: `bank_webhook_secrets` below "
        "the state directory.",
    )
    ledger_address: Address | None = Field(
        default=None,
        description="HOST:PORT of the `ledger` role. Unset: each process works on the ledger's databases itself.",
    )
    ledger_host: str = Field(default="127.0.0.1", description="The address the `ledger` role listens on.")
    ledger_port: Port = Field(default=8200, description="The port the `ledger` role listens on.")
    metrics_port: Port = Field(default=0, description="Prometheus port of roles without HTTP; 0 for none.")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Log level.")

    # -- the database ----------------------------------------------------------------------------
    database_pool_size: int = Field(default=10, ge=1, le=200, description="Connections a shard and process.")
    database_timeout_seconds: Seconds = Field(default=10, description="Longest statement of the application.")

    # -- the ledger's service ---------------------------------------------------------------------
    ledger_timeout_seconds: Seconds = Field(
        default=10, description="Longest call to the `ledger` role; after it the outcome counts as unknown."
    )
    ledger_max_concurrent: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Calls that a `ledger` role carries out at once; a further one is refused with `ledger_busy`.",
    )

    # -- the ledger's writers --------------------------------------------------------------------
    ledger_writers: int = Field(
        default=2, ge=1, le=16, description="Groups of steps that a process commits at once on a shard."
    )
    ledger_group_size: int = Field(default=200, ge=1, le=2000, description="Steps that are committed together at most.")
    ledger_queue_size: int = Field(
        default=10_000, ge=1, description="Steps that may wait for a writer; more are told to come back (503)."
    )

    # -- payments --------------------------------------------------------------------------------
    home_currency: Currency = Field(default="USD", description="Currency of a new wallet.")
    wallet_limit_per_transaction: int | None = Field(
        default=None, ge=1, le=MAX_MINOR_UNITS, description="Most that may leave a new wallet at once, minor units."
    )
    wallet_limit_daily: int | None = Field(
        default=None, ge=1, le=MAX_MINOR_UNITS, description="Most that may leave a new wallet in a day, minor units."
    )
    transfer_lane: Literal["workflow", "express"] = Field(
        default="workflow",
        description="Who commits a transfer: its workflow, or the API itself where one commit finishes it.",
    )
    preliminary_check: bool = Field(
        default=True,
        description="Debits that the cache and then the ledger say cannot be paid are refused without a workflow.",
    )
    sender_lock: bool = Field(
        default=False,
        description="The API begins one payment of a sender at a time and sheds those that wait too long (503 "
        "`wallet_busy`). It keeps crowds off and protects nothing; without Redis nobody waits.",
    )
    sender_lock_wait_seconds: Seconds = Field(default=1, description="How long a payment waits for its sender's lock.")
    accept_timeout_seconds: Seconds = Field(
        default=5, description="How long a POST waits for its payment to be recorded before it says 503."
    )
    bank_quick_retry_seconds: Seconds = Field(
        default=120, description="How long a bank call is retried quickly before the payment parks."
    )
    bank_slow_retry_seconds: Seconds = Field(
        default=300, description="How often a parked payment asks its bank again by itself."
    )
    bank_request_timeout_seconds: Seconds = Field(
        default=5, description="One request to a bank; a time-out is UNKNOWN."
    )
    bank_breaker_calls: int = Field(
        default=20, ge=2, le=1000, description="Last calls to a bank that its circuit breaker judges by."
    )
    bank_breaker_failures: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Payments that must have failed among them, and half of the calls, before the breaker opens.",
    )
    bank_breaker_pause_seconds: Seconds = Field(
        default=5, description="How long a bank is left alone before a few calls ask whether it is back."
    )
    settlement_poll_seconds: Seconds = Field(
        default=5, description="How often an accepted payment asks its bank whether it has settled."
    )
    ach_at_once: int = Field(
        default=100_000,
        ge=0,
        le=MAX_MINOR_UNITS,
        description="What is available at once of a deposit over ACH, minor units; the rest waits.",
    )
    ach_wait_days: int = Field(
        default=5,
        ge=0,
        le=60,
        description="Banking days until the rest of a deposit over ACH is available; never before it has settled.",
    )
    micro_deposit_tries: int = Field(
        default=3, ge=1, le=10, description="How often the amounts of micro-deposits may be named before linking fails."
    )
    micro_deposit_days: int = Field(
        default=10, ge=1, le=90, description="Banking days within which micro-deposits have to be confirmed."
    )
    sweep_interval_seconds: Seconds = Field(
        default=15, description="How often open transactions without a running workflow are looked for."
    )
    sweep_after_seconds: Seconds = Field(
        default=30, description="How old an open transaction must be before the sweeper looks at it."
    )

    bank_events_interval_seconds: Seconds = Field(
        default=15, description="How often stored events of banks are looked for that nobody has acted on."
    )
    expiry_interval_seconds: Seconds = Field(
        default=15, description="How often holds whose time has come are looked for."
    )

    returns_interval_seconds: Seconds = Field(
        default=60, description="How often banks' statements are read for payments that they took back."
    )

    # -- the API ---------------------------------------------------------------------------------
    rate_limit_client: RateLimit | None = Field(
        default="100000/10second", description="Most requests of a client, e.g. 100/second. Empty: any number."
    )
    rate_limit_wallet: RateLimit | None = Field(
        default="1000/10second",
        description="Most payments and holds that may be asked of a wallet. Empty: any number.",
    )

    # -- webhooks to apps ------------------------------------------------------------------------
    webhook_private_addresses: bool = Field(
        default=False, description="Webhooks may go to private addresses and over http:// too. For development alone."
    )
    webhook_retry_seconds: Annotated[tuple[Seconds, ...], NoDecode, Field(min_length=1)] = Field(
        default=(5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="How long to wait after each failed attempt at a webhook, comma-separated; then it is given up.",
    )
    webhook_disable_after_seconds: Seconds = Field(
        default=432_000, description="How long an endpoint may fail, without one success, before it is disabled."
    )
    webhook_keep_days: int = Field(
        default=30, ge=1, le=3650, description="How long what was sent to apps is kept, and can be sent again."
    )

    # -- events ----------------------------------------------------------------------------------
    relay_max_ahead: int = Field(
        default=2000,
        ge=1,
        description="Events a lane's relay may be ahead of its consumers on the embedded broker.",
    )
    kafka_keep_days: int = Field(
        default=7, ge=1, le=3650, description="How long a real Kafka keeps an event; the outbox has it all the same."
    )
    consumer_quiet_seconds: Seconds = Field(
        default=30,
        description="How long a stream of a real Kafka may be silent, though more was published, before it is suspect; "
        "silent as long again, it is published again.",
    )

    # -- notifications ---------------------------------------------------------------------------
    smtp_host: str | None = Field(
        default=None, min_length=1, description="The server that takes our e-mail. Unset: nobody is notified by e-mail."
    )
    smtp_port: Port = Field(default=587, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection to it is made private; `none` is for a server close by."
    )
    smtp_ca_file: Path | None = Field(
        default=None, description="Certificates that its own is checked against. Unset: the machine's."
    )
    smtp_username: str | None = Field(default=None, description="Who we are to it. Unset: it asks nobody.")
    smtp_password_file: Path | None = Field(default=None, description="The password's file, read at the start.")
    smtp_from: Mailbox | None = Field(
        default=None, description="The sender of our e-mail, `ADDRESS` or `NAME <ADDRESS>`; wanted with the host."
    )
    smtp_timeout_seconds: Seconds = Field(
        default=10, description="Longest connecting, and longest sending of one e-mail."
    )
    notification_senders: int = Field(
        default=2, ge=1, le=32, description="Notifications that a process sends at once, a channel."
    )
    notification_retry_seconds: Seconds = Field(
        default=30,
        description="From a notification's first failed attempt to its second; then twice as long each time.",
    )
    notification_give_up_seconds: Seconds = Field(
        default=86_400, description="How old an event may get before what it has to tell is not sent any more."
    )
    notification_keep_days: int = Field(
        default=30, ge=1, le=3650, description="How long it is kept what was sent or given up."
    )

    worker_max_concurrent: int = Field(
        default=100, ge=1, le=10_000, description="Activities and workflow tasks a worker runs at once."
    )
    worker_sticky_seconds: Seconds = Field(
        default=10,
        description="How long a workflow waits for the worker that remembers it; then any other reads its history.",
    )

    def retry_plan(self) -> RetryPlan:
        """How patient the payments that this process starts are with their banks."""
        return RetryPlan(
            quick_retry_seconds=self.bank_quick_retry_seconds,
            slow_retry_seconds=self.bank_slow_retry_seconds,
            settlement_poll_seconds=self.settlement_poll_seconds,
        )

    def deposit_terms(self) -> DepositTerms:
        """What of a deposit waits until its bank is unlikely to take it back."""
        return {Rail.ACH: Tier(at_once=self.ach_at_once, banking_days=self.ach_wait_days)}

    def default_limits(self) -> WalletLimits:
        """What may leave a wallet that is opened now, until an operator says otherwise."""
        return WalletLimits(per_transaction=self.wallet_limit_per_transaction, daily=self.wallet_limit_daily)

    @field_validator(
        "shard_urls",
        "migration_urls",
        "history_urls",
        "history_migration_urls",
        "webhook_retry_seconds",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        if self.smtp_host is not None and self.smtp_from is None:
            raise ValueError("SAGAPAY_SMTP_HOST wants SAGAPAY_SMTP_FROM beside it: who our e-mail is from")
        if (self.smtp_username is None) != (self.smtp_password_file is None):
            raise ValueError("SAGAPAY_SMTP_USERNAME and SAGAPAY_SMTP_PASSWORD_FILE want each other")
        if self.smtp_username is not None and self.smtp_security == "none":
            raise ValueError("SAGAPAY_SMTP_SECURITY wants starttls or tls: a password is not sent in clear")
        if self.notification_keep_days * 86_400 < self.notification_give_up_seconds:
            raise ValueError("SAGAPAY_NOTIFICATION_KEEP_DAYS wants no less than SAGAPAY_NOTIFICATION_GIVE_UP_SECONDS")
        return self

    @model_validator(mode="after")
    def _two_roles_a_shard(self) -> Self:
        ours, owners = len(self.shard_urls), len(self.migration_urls)
        # Roles that migrate nothing are not told the owner's password.
        told = "migration_urls" in self.model_fields_set or "shard_urls" not in self.model_fields_set
        if (told and ours != owners) or not 0 < ours <= MOST_SHARDS:
            raise ValueError(
                f"SAGAPAY_SHARD_URLS names {ours} databases and SAGAPAY_MIGRATION_URLS {owners}: both want the same "
                f"databases in the same order, one per shard, 1 to {MOST_SHARDS}"
            )
        for name, urls in (("SHARD", self.shard_urls), ("MIGRATION", self.migration_urls)):
            if len(set(urls)) != len(urls):
                raise ValueError(f"SAGAPAY_{name}_URLS names a database twice: each shard wants one of its own")
        return self

    @model_validator(mode="after")
    def _history_has_databases_of_its_own(self) -> Self:
        everybody = (*self.shard_urls, *self.history_urls)
        if len(set(everybody)) != len(everybody):
            raise ValueError("SAGAPAY_HISTORY_URLS names a database twice, or a shard: each wants one of its own")
        owners = len(self.history_migration_urls)
        if owners not in (0, len(self.history_urls)):
            raise ValueError(
                f"SAGAPAY_HISTORY_URLS names {len(self.history_urls)} databases and SAGAPAY_HISTORY_MIGRATION_URLS "
                f"{owners}: both want the same databases in the same order"
            )
        return self


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        field = "_".join(str(part) for part in problem["loc"] if isinstance(part, str))
        message = problem["msg"].removeprefix("Value error, ")
        name = f"SAGAPAY_{field.upper()}" if field else "SAGAPAY_…"
        got = _PASSWORD.sub("…", repr(problem["input"]))
        lines.append(f"{name}: {message} (got {got})" if field else message)
    return "; ".join(lines)


def load_settings(**overrides: object) -> Settings:
    """Read and validate the environment. Raises SettingsInvalid."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsInvalid(_explain(error)) from error


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once."""
    return load_settings()
