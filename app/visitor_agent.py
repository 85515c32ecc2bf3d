"""What a request says of its browser, in the few words that a breakdown needs: device, browser, system, country.

By hand and not by a library: those know thousands of names by as many patterns, which take milliseconds for
each new text, and anybody can send new ones. The text itself and the address are not stored.
"""

import re
from functools import lru_cache

import msgspec

_TEXT_MAX = 512
_COUNTRY = re.compile(rb"[A-Za-z]{2}")
# In this order: nearly everybody also claims to be Chrome, Safari and Mozilla.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(?:OPR|OPiOS|Opera)/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Yandex", re.compile(r"\bYaBrowser/")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(?:Chrome|CriOS|Chromium|HeadlessChrome)/")),
    ("Safari", re.compile(r"\bVersion/[\d.]+.* Safari/|\bSafari/")),
)
_SYSTEMS = (
    ("Windows", re.compile(r"\bWindows\b")),
    ("iOS", re.compile(r"\b(?:iPhone|iPad|iPod)\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("macOS", re.compile(r"\bMac OS X\b|\bMacintosh\b")),
    ("Linux", re.compile(r"\bLinux\b|\bX11\b")),
)
_TABLET = re.compile(r"\biPad\b|\bTablet\b|\bAndroid\b(?!.*\bMobile\b)")
_PHONE = re.compile(r"\bMobile\b|\biPhone\b|\biPod\b")


class Agent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a browser; None is not stored."""

    device: str | None = None
    browser: str | None = None
    os: str | None = None
    country: str | None = None


@lru_cache(maxsize=4_096)
def context_of(user_agent: bytes | None, country: bytes | None) -> bytes | None:
    """The context of an exposure as JSON, from the User-Agent and a country of two letters; None for nothing."""
    known = country is not None and _COUNTRY.fullmatch(country) and country.upper() not in {b"XX", b"T1"}
    agent = msgspec.structs.replace(
        agent_of((user_agent or b"")[:_TEXT_MAX].decode("latin-1")),
        country=country.decode().upper() if country is not None and known else None,
    )
    return None if agent == Agent() else msgspec.json.encode(agent)


def agent_of(text: str) -> Agent:
    """Device class, browser and operating system that a User-Agent names."""
    system = _first(_SYSTEMS, text)
    browser = _first(_BROWSERS, text)
    if system is None and browser is None:
        return Agent()
    device = "tablet" if _TABLET.search(text) else "phone" if _PHONE.search(text) else "desktop"
    return Agent(device, browser, system)


def _first(names: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str | None:
    return next((name for name, pattern in names if pattern.search(text)), None)
