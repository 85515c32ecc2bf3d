"""The dashboard's cookie: signed, and only for a while."""

import time

from app.http import auth


def test_a_session_ends_after_its_time(monkeypatch) -> None:
    """Twelve hours later the cookie is worth nothing; a minute before it is."""
    cookie = auth.session_cookie("admin", secure=True).value
    now = time.time()
    assert auth.logged_in(cookie, "admin")

    monkeypatch.setattr(auth.time, "time", lambda: now + auth.SESSION_SECONDS - 60)
    assert auth.logged_in(cookie, "admin")
    monkeypatch.setattr(auth.time, "time", lambda: now + auth.SESSION_SECONDS + 1)
    assert not auth.logged_in(cookie, "admin")


def test_a_cookie_that_was_changed_or_signed_by_another_is_none(monkeypatch) -> None:
    """Neither a longer life nor another server's cookie logs in."""
    body, _, signature = str(auth.session_cookie("admin", secure=True).value).partition(".")
    monkeypatch.setattr(auth, "SESSION_SECONDS", 10 * auth.SESSION_SECONDS)
    longer, _, _ = str(auth.session_cookie("admin", secure=True).value).partition(".")

    assert not auth.logged_in(f"{longer}.{signature}", "admin")
    assert not auth.logged_in(f"{body}.{signature}", "another admin")
    for cookie in (None, "", ".", "x.y", body, f"{body}."):
        assert not auth.logged_in(cookie, "admin")
