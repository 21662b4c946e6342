"""What a user is told, and over what: read and said over the API."""

import pytest

from domain.ids import UserId
from domain.notifications import ChannelName, NotificationKind
from events.notification_preferences import unwanted_by
from tests.rest.stage import Person, Stage

ALL = {kind: dict.fromkeys(ChannelName, True) for kind in NotificationKind}


def path(user_id: str) -> str:
    """Where a user's preferences are."""
    return f"/v1/users/{user_id}/notification-preferences"


@pytest.fixture(scope="module")
async def person(rest: Stage) -> Person:
    return await rest.person()


async def test_everything_is_wanted_until_somebody_says_otherwise(rest: Stage, person: Person) -> None:
    response = await rest.app.get(path(person.user_id))
    assert (response.status_code, response.json()) == (200, {"user_id": person.user_id, "kinds": ALL})


async def test_what_is_said_replaces_what_was_said_before(rest: Stage, person: Person) -> None:
    async def put(kinds: dict[str, dict[str, bool]]) -> dict[str, object]:
        response = await rest.app.http.put(path(person.user_id), json={"kinds": kinds})
        assert response.status_code == 200, response.text
        assert (await rest.app.get(path(person.user_id))).json() == response.json()
        found: dict[str, object] = response.json()["kinds"]
        return found

    first = await put({"payment_sent": {"email": False}, "wallet_changed": {"push": False, "sms": True}})
    assert first == {
        **ALL,
        "payment_sent": {"email": False, "push": True, "sms": True},
        "wallet_changed": {"email": True, "push": False, "sms": True},
    }
    engine = rest.backends.engine
    assert await unwanted_by(engine, UserId(person.user_id)) == {
        (NotificationKind.PAYMENT_SENT, ChannelName.EMAIL),
        (NotificationKind.WALLET_CHANGED, ChannelName.PUSH),
    }
    assert await put({"payment_failed": {"email": False}}) == {
        **ALL,
        "payment_failed": {"email": False, "push": True, "sms": True},
    }
    assert await put({}) == ALL


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kinds": {"payment_lost": {"email": True}}},
        {"kinds": {"payment_sent": {"fax": True}}},
        {"kinds": {"payment_sent": {"email": "no"}}},
        {"kinds": {"payment_sent": False}},
        {"kinds": {}, "user_id": "usr_1"},
    ],
)
async def test_a_body_of_another_form_is_refused(rest: Stage, person: Person, body: dict[str, object]) -> None:
    response = await rest.app.http.put(path(person.user_id), json=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


async def test_the_preferences_of_other_clients_users_do_not_exist(rest: Stage, person: Person) -> None:
    for user_id in (person.user_id, UserId.new(0)):
        for caller in (rest.other, rest.operator):
            assert (await caller.get(path(user_id))).status_code == 404
        assert (await rest.other.http.put(path(user_id), json={"kinds": {}})).status_code == 404
    assert (await rest.operator.http.put(path(person.user_id), json={"kinds": {}})).status_code == 403
