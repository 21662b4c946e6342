"""/livez touches nothing, /readyz asks everything, /metrics is for Prometheus."""

import asyncio
from collections.abc import Awaitable
from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel
from redis.exceptions import RedisError

from api.answers import answer, raw_answer
from api.backends import Backends, Reach
from api.openapi import problems, success
from api.problems import DependencyState, problem_of, problem_response
from bank_adapters.breaker import Phase
from bank_adapters.port import BankAdapter
from domain.errors import SagapayError, Unavailable
from infra.telemetry import METRICS_CONTENT_TYPE, render_metrics

CHECK_SECONDS: Final = 2.0
_OK: Final = DependencyState(status="ok")
_DOWN: Final = "down"
_REQUIRED: Final = ("ledger", "temporal")
_NO_SUCH_PAYMENT: Final = "readyz"

router: Final = APIRouter(tags=["health"])


class Liveness(BaseModel):
    """The process runs and answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """`ready`, or `degraded` where something is down that only slows us."""

    status: str
    checks: dict[str, DependencyState]


@router.get(
    "/livez", response_model=Liveness, responses=success(200, "The process answers."), summary="Is the process alive?"
)
async def livez() -> Response:
    """Asks nobody."""
    return raw_answer(b'{"status":"ok"}')


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={**success(200, "Payments can be accepted."), **problems((Unavailable,))},
    summary="Can it accept payments?",
)
async def readyz(backends: Reach) -> Response:
    """503 without the ledger or Temporal. Without Redis or some of the shards it is degraded; a bank is told of."""
    checks = await _checks(backends)
    down = [name for name in _REQUIRED if checks[name].status == _DOWN]
    if down:
        problem = problem_of(Unavailable(f"Not ready: {', '.join(down)} does not answer."))
        return problem_response(problem.model_copy(update={"checks": checks}))
    healthy = all(state.status == _OK.status for state in checks.values())
    return answer(Readiness(status="ready" if healthy else "degraded", checks=checks))


@router.get(
    "/metrics",
    responses={
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
    response_class=Response,
    summary="Metrics",
)
async def metrics() -> Response:
    """Of this process."""
    return Response(render_metrics(), headers={"Content-Type": METRICS_CONTENT_TYPE})


async def _checks(backends: Backends) -> dict[str, DependencyState]:
    questions: dict[str, Awaitable[object]] = {
        "ledger": _ask_shards(backends),
        "temporal": backends.temporal.ping(),
        "redis": backends.cache.ping(),
        **{f"bank:{name}": _ask_bank(backends, bank) for name, bank in backends.banks.items()},
    }
    answers = await asyncio.gather(*(_ask(question) for question in questions.values()))
    checks = dict(zip(questions, answers, strict=True))
    if backends.temporal.wants_worker:
        eager = backends.temporal.starts_eagerly
        checks["transfer_worker"] = _OK if eager else DependencyState(status=_DOWN, detail="not polling")
    return checks


async def _ask(question: Awaitable[object]) -> DependencyState:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            answered = await question
    except (SagapayError, RedisError, OSError, TimeoutError) as error:
        return DependencyState(status=_DOWN, detail=str(error) or type(error).__name__)
    return answered if isinstance(answered, DependencyState) else _OK


async def _ask_bank(backends: Backends, bank: BankAdapter) -> DependencyState:
    """Whether it answers, unless the workers leave it alone at the moment."""
    breaker = await backends.breakers.read(bank.name)
    if breaker.phase is Phase.OPEN:
        return DependencyState(status=_DOWN, detail=f"breaker open: asked again in {breaker.seconds:.1f} s")
    await bank.look_up(_NO_SUCH_PAYMENT)
    if breaker.phase is Phase.HALF_OPEN:
        return DependencyState(status=_OK.status, detail="breaker half open: a few payments go first")
    return _OK


async def _ask_shards(backends: Backends) -> DependencyState:
    """One shard that is down takes no wallet of the others out of service."""
    silent = await backends.ledger.ping()
    if not silent:
        return _OK
    detail = f"without shard {', '.join(map(str, silent))}: wallets there answer 503"
    return DependencyState(status="degraded", detail=detail)
