"""Who calls: bearer keys, looked up by their hash, remembered for a few seconds."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from domain.errors import Forbidden, NotFound, Unauthenticated
from domain.ids import ClientId
from ledger.directory import Directory, Scope, hash_key

REMEMBER_SECONDS: Final = 10.0
MAX_REMEMBERED: Final = 10_000
_MAX_KEY_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """The client behind a request, what its key may do, and which key it is: operators have one each."""

    client_id: ClientId
    scope: Scope
    key_id: str

    @property
    def is_operator(self) -> bool:
        """Whether the key looks after everybody's payments."""
        return self.scope is Scope.OPERATOR

    def demand_sight(self, owner: ClientId) -> None:
        """An app sees its own, an operator everything. Raises NotFound, the same as for what does not exist."""
        if owner != self.client_id and not self.is_operator:
            raise NotFound


class KeyRing:
    """Finds the caller of an API key. A good key is remembered for ten seconds: a revoked one lives no longer."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[bytes, tuple[Caller, float]] = {}
        self._asked: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def caller(self, plaintext: str) -> Caller:
        """Every key costs one hash and one look-up by hash. Raises Unauthenticated and LedgerUnavailable.

        All who come while a key is looked up wait for that one look-up: a busy client has hundreds at that moment.
        """
        key_hash, now = hash_key(plaintext), time.monotonic()
        known = self._known.get(key_hash)
        if known is not None and known[1] > now:
            return known[0]
        asked = self._asked.get(key_hash)
        if asked is None:
            asked = self._asked[key_hash] = asyncio.create_task(self._look_up(key_hash, now))
            asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        caller = await asyncio.shield(asked)
        if caller is None:
            raise Unauthenticated
        return caller

    async def _look_up(self, key_hash: bytes, now: float) -> Caller | None:
        try:
            key = await self._directory.authenticate(key_hash)
            if key is None:
                self._known.pop(key_hash, None)
                return None
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            caller = Caller(key.client_id, key.scope, key.key_id)
            self._known[key_hash] = (caller, now + REMEMBER_SECONDS)
            return caller
        finally:
            del self._asked[key_hash]


def _bearer_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not 0 < len(key) <= _MAX_KEY_LENGTH:
        raise Unauthenticated
    return key


class _BearerKey(SecurityBase):
    """The security scheme as OpenAPI names it, and the dependency that applies it."""

    def __init__(self, *scopes: Scope) -> None:
        self.model = HTTPBearerModel(bearerFormat="sk_…", description="An API key: Authorization: Bearer sk_…")
        self.scheme_name = "ApiKey"
        self._scopes = scopes

    async def __call__(self, request: Request) -> Caller:
        """The caller. Raises Unauthenticated, Forbidden for a key of another scope, RateLimited."""
        ring: KeyRing = request.app.state.backends.keys
        caller = await ring.caller(_bearer_of(request))
        await request.app.state.backends.rate_limits.count_client(caller.client_id)
        request.scope["sagapay.client_id"] = caller.client_id
        if caller.scope not in self._scopes:
            raise Forbidden(f"This call wants a key of scope {' or '.join(self._scopes)}.")
        return caller


AnyCaller = Annotated[Caller, Depends(_BearerKey(*Scope))]
App = Annotated[Caller, Depends(_BearerKey(Scope.APP))]
Operator = Annotated[Caller, Depends(_BearerKey(Scope.OPERATOR))]
