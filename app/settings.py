"""Settings: the environment, read once into one frozen record."""

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, get_args

import msgspec

# Settings of PostgreSQL that an acknowledgement rests on.
SafetySetting = Literal["fsync", "full_page_writes", "synchronous_commit"]


# Each month of the horizon is a partition of the ledger.
HORIZON_PAST_DAYS_MAX = 3_660
HORIZON_FUTURE_DAYS_MAX = 366


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says; times in the unit that ends the name."""

    database_url: str | None = None
    data_dir: Path = Path(".prooflog")
    host: str = "127.0.0.1"
    port: int = 8000
    admin_token: str | None = None
    workers: int = 1
    public_url: str | None = None
    horizon_past_days: float = 30
    horizon_future_days: float = 1
    count_bots: bool = False
    country_header: str | None = None
    archive_dir: Path | None = None
    retention_days: int | None = None
    allow_unsafe: frozenset[SafetySetting] = frozenset()
    # Whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses and networks, or * for everybody's.
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the PROOFLOG_ variables that are set and not empty; ValueError names a bad one."""
    given: dict[str, str | list[str]] = {}
    for field in msgspec.structs.fields(Settings):
        value = environment.get(f"PROOFLOG_{field.name.upper()}", "")
        if value:
            given[field.name] = value
    if "allow_unsafe" in given:
        given["allow_unsafe"] = _unsafe_names(str(given["allow_unsafe"]))
    if "trusted_proxies" in given:
        given["trusted_proxies"] = _proxies(str(given["trusted_proxies"]))
    try:
        settings = msgspec.convert(given, Settings, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ValueError(f"a PROOFLOG_ variable is not usable: {error}") from None
    if not 1 <= settings.workers <= 64:  # noqa: PLR2004
        raise ValueError("PROOFLOG_WORKERS must lie between 1 and 64")
    if not 0 <= settings.port <= 65535:  # noqa: PLR2004
        raise ValueError("PROOFLOG_PORT must lie between 0 and 65535")
    _check_times(settings)
    return settings


def _check_times(settings: Settings) -> None:
    if not 0 < settings.horizon_past_days <= HORIZON_PAST_DAYS_MAX:
        raise ValueError(f"PROOFLOG_HORIZON_PAST_DAYS must lie between 0 and {HORIZON_PAST_DAYS_MAX}")
    if not 0 <= settings.horizon_future_days <= HORIZON_FUTURE_DAYS_MAX:
        raise ValueError(f"PROOFLOG_HORIZON_FUTURE_DAYS must lie between 0 and {HORIZON_FUTURE_DAYS_MAX}")
    if settings.retention_days is None:
        return
    if settings.retention_days < 1:
        raise ValueError("PROOFLOG_RETENTION_DAYS must be 1 or more")
    if settings.archive_dir is None:
        raise ValueError(
            "PROOFLOG_RETENTION_DAYS needs PROOFLOG_ARCHIVE_DIR: were events dropped that are in no archive, "
            "no result could be proven any more"
        )


def _unsafe_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := sorted(set(names) - set(get_args(SafetySetting))):
        known = ", ".join(get_args(SafetySetting))
        raise ValueError(f"PROOFLOG_ALLOW_UNSAFE names {', '.join(unknown)}: it may name {known}")
    return names


def _proxies(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        try:
            ip_network(name if name != "*" else "0.0.0.0/0")
        except ValueError:
            raise ValueError(
                f"PROOFLOG_TRUSTED_PROXIES names {name}: it may name addresses, networks such as 10.0.0.0/8, or *"
            ) from None
    return names


def _decode_path(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)
