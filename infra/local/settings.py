"""Settings of the embedded stack alone: ports and patience. A role never reads them."""

from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import SettingsInvalid
from infra.setting_forms import Seconds
from infra.settings import MOST_SHARDS


class LocalSettings(BaseSettings):
    """What `make up` needs beyond infra.settings. Raises SettingsInvalid through `load_local_settings`."""

    model_config = SettingsConfigDict(env_prefix="SAGAPAY_LOCAL_", extra="ignore", frozen=True)

    postgres_port: int = Field(default=15432, ge=1, le=65535, description="Port of the embedded PostgreSQL.")
    shards: int = Field(
        default=2,
        ge=1,
        le=MOST_SHARDS,
        description="Databases of the ledger in the embedded PostgreSQL; cannot be changed once there is data.",
    )
    redis_port: int = Field(default=16379, ge=1, le=65535, description="Port of the embedded Valkey.")
    temporal_port: int = Field(default=7233, ge=1, le=65535, description="Port of the embedded Temporal.")
    temporal_ui_port: int = Field(default=8233, ge=1, le=65535, description="Port of Temporal's UI.")
    ledger: bool = Field(
        default=False,
        description="Run the `ledger` role and let `api` and `worker` use it; else each keeps the ledger itself.",
    )
    death: Literal["auto", "signal", "watchdog"] = Field(
        default="auto",
        description="How children end with a killed supervisor: a parent-death signal (Linux only) or a "
        "watchdog process. auto: the signal on Linux, the watchdog elsewhere.",
    )
    preload: bool = Field(
        default=True,
        description="Load the roles' code once in the supervisor and fork them (Linux); else each starts Python anew.",
    )
    start_timeout_seconds: Seconds = Field(
        default=60, description="How long one process may take until it is ready for the first time."
    )
    stop_grace_seconds: Seconds = Field(
        default=8, description="How long a process may take to end before it is killed."
    )


def load_local_settings(**overrides: object) -> LocalSettings:
    """Read and validate SAGAPAY_LOCAL_… variables. Raises SettingsInvalid."""
    try:
        return LocalSettings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = f"SAGAPAY_LOCAL_{'_'.join(map(str, first['loc'])).upper()}"
        raise SettingsInvalid(f"{name}: {first['msg']} (got {first['input']!r})") from error
