"""What a request says of its browser: a few words, never the text itself."""

import pytest

from app.visitor_agent import Agent, agent_of, context_of

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {WEBKIT} Version/18.1 Mobile/15E148 Safari/604.1"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36"


@pytest.mark.parametrize(
    ("text", "device", "browser", "system"),
    [
        (IPHONE, "phone", "Safari", "iOS"),
        (WINDOWS, "desktop", "Chrome", "Windows"),
        (f"{WINDOWS} Edg/131.0.0.0", "desktop", "Edge", "Windows"),
        (f"{WINDOWS} OPR/114.0", "desktop", "Opera", "Windows"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {CHROME} Mobile Safari/537.36", "phone", "Chrome", "Android"),
        (f"Mozilla/5.0 (Linux; Android 14; SM-X910) {CHROME} Safari/537.36", "tablet", "Chrome", "Android"),
        ("Mozilla/5.0 (Linux; Android 13) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
         "phone", "Samsung Internet", "Android"),
        (f"Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) {WEBKIT} CriOS/131.0 Mobile/15E148 Safari/604.1",
         "tablet", "Chrome", "iOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "desktop", "Firefox", "Linux"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/18.1 Safari/605.1.15",
         "desktop", "Safari", "macOS"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36", "desktop", "Chrome", "ChromeOS"),
        ("curl/8.5.0", None, None, None),
        ("", None, None, None),
    ],
)  # fmt: skip
def test_an_agent_is_known_by_what_it_says_least_often(
    text: str, device: str | None, browser: str | None, system: str | None
) -> None:
    """Nearly all claim to be Chrome, Safari and Mozilla too."""
    assert agent_of(text) == Agent(device, browser, system)


@pytest.mark.parametrize(
    ("country", "known"),
    [(b"de", b'"DE"'), (b"DE", b'"DE"'), (b"XX", None), (b"T1", None), (b"", None), (b"DEU", None), (None, None)],
)
def test_a_country_has_two_letters(country: bytes | None, known: bytes | None) -> None:
    """What a proxy says when it does not know is nothing; nothing at all is no context."""
    assert context_of(b"curl/8", country) == (known and b'{"country":' + known + b"}")
    assert context_of(IPHONE.encode(), country) == (
        b'{"device":"phone","browser":"Safari","os":"iOS"' + (b',"country":' + known if known else b"") + b"}"
    )


def test_any_bytes_are_answered_quickly() -> None:
    """A text without an end is cut off; what is known is kept for so many texts and no more."""
    assert context_of(b"\xff" * 60_000 + IPHONE.encode(), None) is None
    for number in range(10_000):
        context_of(b"%d" % number, None)
    assert context_of.cache_info().currsize <= 4_096
