"""How many events arrive: pages that are left and closed, and a server that is gone for a while.

PROOFLOG_BROWSER_LOADS=50 leaves 200 pages and kills the server for 30 seconds, as is promised; a few pages and two
seconds show that the tests themselves work.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter

import psycopg
import pytest

from tests.browser.browser_site import everybody_sees, page_html
from tests.running_server import running_server

pytestmark = pytest.mark.browser

LOADS = int(os.environ.get("PROOFLOG_BROWSER_LOADS", "5"))
OUTAGE_SECONDS = 30 if LOADS >= 50 else 2
# Of 200 events at least 199 arrive; of a few all.
LOST_SHARE_MAX = 1 / 200

WAYS = {
    "the address changes": "grademypage.trackConversion(name); location.href = '/blank'",
    "a reload": "grademypage.trackConversion(name); location.reload()",
    "as the page ends": "onpagehide = () => grademypage.trackConversion(name); location.href = '/blank'",
    "the tab is closed": "grademypage.trackConversion(name); window.close()",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_conversion_in_the_last_moment_of_a_page_arrives(site, context, way):
    """Reported and left in the same task, again and again, none is lost and none comes twice."""
    keeper = context.new_page()
    keeper.goto("/blank")
    for number in range(LOADS):
        # Only what a script has opened may a script close.
        with context.expect_page() as opened:
            keeper.evaluate("void open('/')")
        tab = opened.value
        tab.wait_for_load_state()
        # Behind the answer to evaluate, which would wait for ever for a tab that is gone.
        tab.evaluate(f"(name) => void setTimeout(() => {{ {WAYS[way]} }}, 150, window.here = 1)", f"left {number}")
        if way == "the tab is closed":
            _wait_until(keeper, tab.is_closed)
        else:
            tab.wait_for_function("document.readyState === 'complete' && !window.here")
            tab.close()
    expected = {f"left {number}" for number in range(LOADS)}
    tolerated = int(LOADS * len(WAYS) * LOST_SHARE_MAX)

    def arrived():
        return {event["eventName"] for event in site.stored("conversion")} & expected

    site.wait_until(lambda: len(arrived()) >= LOADS - tolerated, f"{LOADS} conversions")
    counts = Counter(event["eventName"] for event in site.stored("conversion"))
    assert set(counts.values()) == {1}


def _wait_until(page, condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(10)


@pytest.mark.thorough
def test_an_outage_of_the_server_and_a_reload_lose_and_double_nothing(site, page, database_url, tmp_path):
    """Killed, away for a while and started again: the log holds each event of the visitor once."""
    settings = {"PROOFLOG_DATABASE_URL": database_url, "PROOFLOG_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "app", "demo"], check=True, env={**os.environ, **settings})
    site.project_id = json.loads((tmp_path / "demo.json").read_text())["projectId"]
    site.experiments = [everybody_sees()]
    site.pages["/"] = page_html("<h1>Original</h1>")
    tracked = 0

    def track(seconds):
        nonlocal tracked
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            tracked += 1
            page.evaluate("(number) => grademypage.track('numbered', { eventData: { number } })", tracked)
            page.wait_for_timeout(100)

    with running_server(database_url, tmp_path, "--no-demo", ends_well=False) as server:
        site.base_url = server.url
        page.goto("/")
        track(0.5)
        server.process.kill()
        server.process.wait()
        track(OUTAGE_SECONDS / 2)
        page.goto("/")
        track(OUTAGE_SECONDS / 2)
    port = server.url.rpartition(":")[2]
    with running_server(database_url, tmp_path, "--no-demo", PROOFLOG_PORT=port):
        track(0.5)
        page.reload()
        page.wait_for_function(
            "!Object.keys(localStorage).some((key) => key.startsWith('gmp_out:'))", timeout=90_000
        )
        page.goto("/blank")

    with psycopg.connect(database_url) as connection:
        numbers = [
            number
            for (number,) in connection.execute(
                "select (event_data->>'number')::int from event_log where event_type = 'numbered'"
            )
        ]
        views = connection.execute("select count(*) from event_log where event_type = 'pageview'").fetchone()
    assert sorted(numbers) == list(range(1, tracked + 1))
    assert views == (3,)
