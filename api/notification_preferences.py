"""GET and PUT /v1/users/{id}/notification-preferences: what a user is told, and over what."""

from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from api.answers import answer
from api.backends import Backends, Reach
from api.json_body import JsonRoute
from api.openapi import READS, problems, success
from api.security import AnyCaller, App, Caller
from domain.errors import BodyTooLarge, Forbidden, NotFound, UnsupportedMediaType
from domain.ids import UserId
from domain.notifications import ChannelName, NotificationKind
from events.notification_preferences import CHOICES, Choice, prefer, unwanted_by

router: Final = APIRouter(route_class=JsonRoute, tags=["users"])

_PATH: Final = "/v1/users/{user_id}/notification-preferences"


class Channels(BaseModel):
    """Over what a kind is told. What is left out is wanted; a channel that is not on here is kept for when it is."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    email: bool = True
    push: bool = True
    sms: bool = True


class Kinds(BaseModel):
    """What is told. A kind that is left out is told over every channel that is on."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    payment_sent: Channels = Channels()
    payment_received: Channels = Channels()
    deposit_completed: Channels = Channels()
    withdrawal_completed: Channels = Channels()
    payment_failed: Channels = Channels()
    payment_returned: Channels = Channels()
    wallet_changed: Channels = Channels()

    @classmethod
    def without(cls, unwanted: frozenset[Choice]) -> "Kinds":
        """Everything but these."""
        return cls(
            **{
                kind: Channels(**{channel: (kind, channel) not in unwanted for channel in ChannelName})
                for kind in NotificationKind
            }
        )

    def wants(self, kind: NotificationKind, channel: ChannelName) -> bool:
        """Whether this is among them."""
        channels: Channels = getattr(self, kind)
        wanted: bool = getattr(channels, channel)
        return wanted


class PreferencesBody(BaseModel):
    """All that a user wants to be told, instead of what was said before."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"kinds": {"payment_sent": {"email": False}}}},
    )

    kinds: Kinds


class PreferencesView(BaseModel):
    """What a user is told, and over what."""

    user_id: UserId
    kinds: Kinds


@router.get(
    _PATH,
    response_model=PreferencesView,
    responses={**success(200, "What the user is told."), **problems(READS)},
    summary="Read what a user is notified of",
)
async def get_preferences(user_id: UserId, caller: AnyCaller, backends: Reach) -> Response:
    """Every kind and channel. A user who never said anything is told everything."""
    await _demand_own(backends, caller, user_id)
    return _view(user_id, await unwanted_by(backends.engine, user_id))


@router.put(
    _PATH,
    response_model=PreferencesView,
    responses={
        **success(200, "What the user is told from now on."),
        **problems((*READS, Forbidden, BodyTooLarge, UnsupportedMediaType)),
    },
    summary="Say what a user is notified of",
)
async def put_preferences(user_id: UserId, body: PreferencesBody, caller: App, backends: Reach) -> Response:
    """Replaces all of them; what is left out is wanted. Holds for events that come from then on. Wants no key."""
    await _demand_own(backends, caller, user_id)
    unwanted = frozenset(choice for choice in CHOICES if not body.kinds.wants(*choice))
    await prefer(backends.engine, user_id, unwanted)
    return _view(user_id, unwanted)


def _view(user_id: UserId, unwanted: frozenset[Choice]) -> Response:
    return answer(PreferencesView(user_id=user_id, kinds=Kinds.without(unwanted)))


async def _demand_own(backends: Backends, caller: Caller, user_id: UserId) -> None:
    user = await backends.directory.user(user_id)
    if user is None or user.client_id != caller.client_id:
        raise NotFound
