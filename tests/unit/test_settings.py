"""Settings: read once, validated before anything starts, and a wrong one is named with what it wants."""

from pathlib import Path

import pytest

from domain.errors import SettingsInvalid
from infra.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the surroundings of this test run."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SAGAPAY_{name.upper()}", raising=False)


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.home_currency == "USD"
    assert len(settings.shard_urls) == len(settings.migration_urls) > 0


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGAPAY_API_PORT", "9001")
    monkeypatch.setenv("SAGAPAY_STATE_DIR", "elsewhere")
    monkeypatch.setenv("SAGAPAY_SHARD_URLS", " postgresql://app@db:5432/ledger , ")
    monkeypatch.setenv("SAGAPAY_MIGRATION_URLS", "postgresql://owner@db:5432/ledger")
    monkeypatch.setenv("SAGAPAY_BANK_URL", "http://bank:8100/")
    monkeypatch.setenv("SAGAPAY_UNKNOWN", "is ignored")
    settings = load_settings()
    assert (settings.api_port, settings.state_dir) == (9001, Path("elsewhere"))
    assert settings.shard_urls == ("postgresql://app@db:5432/ledger",)
    assert settings.bank_url == "http://bank:8100"


@pytest.mark.parametrize(
    ("name", "value", "wants"),
    [
        ("SHARD_URLS", "mysql://root@db/ledger", "wants postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("MIGRATION_URLS", "db", "wants postgresql://"),
        ("REDIS_URL", "localhost:6379", "wants redis://HOST:PORT/NUMBER"),
        ("TEMPORAL_ADDRESS", "http://temporal", "wants HOST:PORT"),
        ("TEMPORAL_UI_URL", "temporal:8233", "wants http://HOST:PORT"),
        ("BANK_URL", "ftp://bank", "wants http://HOST:PORT"),
        ("API_PORT", "70000", "less than or equal to 65535"),
        ("API_PORT", "-1", "greater than or equal to 0"),
        ("API_PORT", "eighty", "valid integer"),
        ("METRICS_PORT", "1.5", "valid integer"),
        ("LOG_LEVEL", "LOUD", "DEBUG|INFO|WARNING|ERROR"),
        ("DATABASE_POOL_SIZE", "0", "greater than or equal to 1"),
        ("DATABASE_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("DATABASE_TIMEOUT_SECONDS", "nan", "finite number"),
        ("BANK_SLOW_RETRY_SECONDS", "inf", "finite number"),
        ("ACCEPT_TIMEOUT_SECONDS", "-3", "greater than 0"),
        ("SETTLEMENT_POLL_SECONDS", "soon", "valid number"),
        ("HOME_CURRENCY", "usd", "wants an ISO 4217 currency"),
        ("HOME_CURRENCY", "ABC", "wants an ISO 4217 currency"),
        ("RELAY_MAX_AHEAD", "0", "greater than or equal to 1"),
        ("WORKER_MAX_CONCURRENT", "99999", "less than or equal to 10000"),
        ("API_HOSTS_WORKER", "perhaps", "valid boolean"),
        ("SMTP_PORT", "smtp", "valid integer"),
        ("SMTP_SECURITY", "ssl", "'starttls', 'tls' or 'none'"),
        ("SMTP_FROM", "no-reply", "wants ADDRESS or NAME <ADDRESS>"),
        ("NOTIFICATION_SENDERS", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_wants(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, wants: str
) -> None:
    monkeypatch.setenv(f"SAGAPAY_{name}", value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert f"SAGAPAY_{name}: " in refused.value.detail
    assert wants in refused.value.detail
    assert value in refused.value.detail


def test_shards_are_counted_by_their_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGAPAY_SHARD_URLS", "postgresql://app@a/x,postgresql://app@b/x")
    monkeypatch.setenv("SAGAPAY_MIGRATION_URLS", "postgresql://owner@a/x,postgresql://owner@b/x")
    assert len(load_settings().shard_urls) == 2


@pytest.mark.parametrize(
    ("ours", "owners", "wants"),
    [
        ("", "", "names 0 databases"),
        ("postgresql://a@b/c,postgresql://a@d/c", "postgresql://o@b/c", "SAGAPAY_MIGRATION_URLS 1"),
        ("postgresql://a@b/c,postgresql://a@b/c", "postgresql://o@b/c,postgresql://o@d/c", "SHARD_URLS names a data"),
        ("postgresql://a@b/c,postgresql://a@d/c", "postgresql://o@b/c,postgresql://o@b/c", "MIGRATION_URLS names a"),
    ],
)
def test_every_shard_wants_one_database_and_both_its_roles(
    monkeypatch: pytest.MonkeyPatch, ours: str, owners: str, wants: str
) -> None:
    monkeypatch.setenv("SAGAPAY_SHARD_URLS", ours)
    monkeypatch.setenv("SAGAPAY_MIGRATION_URLS", owners)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert wants in refused.value.detail


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGAPAY_API_PORT", "x")
    monkeypatch.setenv("SAGAPAY_LOG_LEVEL", "y")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert {"SAGAPAY_API_PORT", "SAGAPAY_LOG_LEVEL"} <= set(refused.value.detail.replace(":", " ").split())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHARD_URLS", "postgres://app:s3cret@db:5432/ledger"),
        ("REDIS_URL", "http://:s3cret@cache:6379/0"),
        ("TEMPORAL_UI_URL", "ftp://me:s3cret@temporal"),
    ],
)
def test_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SAGAPAY_{name}", value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert f"SAGAPAY_{name}: " in refused.value.detail
    assert "s3cret" not in refused.value.detail


@pytest.mark.parametrize(
    ("values", "wants"),
    [
        ({"SMTP_HOST": "mail"}, "SAGAPAY_SMTP_HOST wants SAGAPAY_SMTP_FROM"),
        ({"SMTP_USERNAME": "me"}, "want each other"),
        ({"SMTP_PASSWORD_FILE": "secret"}, "want each other"),
        (
            {"SMTP_USERNAME": "me", "SMTP_PASSWORD_FILE": "secret", "SMTP_SECURITY": "none"},
            "a password is not sent in clear",
        ),
        (
            {"NOTIFICATION_KEEP_DAYS": "1", "NOTIFICATION_GIVE_UP_SECONDS": "86401"},
            "SAGAPAY_NOTIFICATION_KEEP_DAYS wants no less than SAGAPAY_NOTIFICATION_GIVE_UP_SECONDS",
        ),
    ],
)
def test_mail_settings_that_cannot_work_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], wants: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SAGAPAY_{name}", value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert wants in refused.value.detail


@pytest.mark.parametrize("sender", ["no-reply@example.com", "Sagapay <no-reply@example.com>", "Ságapay <a+b@c.d>"])
def test_senders_of_mail_have_one_of_two_forms(monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
    monkeypatch.setenv("SAGAPAY_SMTP_FROM", sender)
    assert load_settings().smtp_from == sender


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().api_port = 1


def test_databases_of_the_history_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGAPAY_HISTORY_URLS", "postgresql://app@a:5432/h, postgresql://app@b:5432/h")
    assert load_settings().history_urls == ("postgresql://app@a:5432/h", "postgresql://app@b:5432/h")
    monkeypatch.setenv("SAGAPAY_HISTORY_MIGRATION_URLS", "postgresql://owner@a:5432/h")
    with pytest.raises(SettingsInvalid, match="SAGAPAY_HISTORY_URLS names 2 databases"):
        load_settings()
    monkeypatch.delenv("SAGAPAY_HISTORY_MIGRATION_URLS")
    monkeypatch.setenv("SAGAPAY_HISTORY_URLS", "postgresql://sagapay_app@127.0.0.1:15432/sagapay")
    with pytest.raises(SettingsInvalid, match="or a shard"):
        load_settings()
