"""The main job, end to end: a real browser, a real server, and results that say what happened."""

import os
import re
import subprocess
import sys
import time

import httpx
import pytest

from tests.running_server import running_server

pytestmark = pytest.mark.browser


@pytest.fixture
def server(database_url, tmp_path):
    """A server with the demo's experiment and no simulated visitors, which counts headless browsers."""
    settings = {"PROOFLOG_DATABASE_URL": database_url, "PROOFLOG_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "app", "demo"], check=True, env={**os.environ, **settings})
    with running_server(database_url, tmp_path, "--no-demo", PROOFLOG_COUNT_BOTS="true") as server:
        yield server


def test_impression_conversion_and_purchase_reach_the_results(server, page, context) -> None:
    """Three visitors see the shop, one clicks the offer, two buy: browser, backend and results agree."""
    assigned = []
    for visit in range(3):
        page.goto(f"{server.url}/demo")
        page.wait_for_selector("#assignments b")
        variant = page.inner_text("#assignments b")
        assigned.append(variant)
        expected = "Stoneware for slow mornings" if variant == "Control" else "One mug for the next twenty years"
        assert page.inner_text("#hero-title") == expected
        if visit == 0:
            page.click("#cta")
        if visit < 2:
            with page.expect_response("**/demo/orders") as paid:
                page.click("#buy")
            assert paid.value.status == 201
        page.wait_for_selector("#events .stored")
        page.wait_for_function("!document.querySelector('#events .state:not(.stored)')")
        context.clear_cookies()
        page.evaluate("localStorage.clear(); sessionStorage.clear()")

    results = _wait_for(server, lambda found: sum(arm["impressions"] for arm in found["variants"]) >= 3)

    visitors = {arm["name"]: arm["visitors"] for arm in results["variants"]}
    assert visitors == {name: assigned.count(name) for name in visitors}
    goals = {goal["name"]: goal["variants"] for goal in results["goals"]}
    assert sum(arm["converters"] for arm in goals["purchase"]) == 2
    assert sum(arm["converters"] for arm in goals["revenue"]) == 2
    assert sum(arm["value"]["sum"] for arm in goals["revenue"]) == 56
    assert sum(arm["conversions"] for arm in goals["offer clicks"]) == 1
    assert results["unattributed"] == []
    assert all(arm["multipleExposures"] == 0 for arm in results["variants"])


def test_a_stopped_experiment_leaves_an_open_page_with_the_next_event(server, page, context) -> None:
    """The kill switch: the answer to a click says that nothing runs any more, and the page shows the original."""
    original = "Stoneware for slow mornings"
    for _ in range(40):
        page.goto(f"{server.url}/demo")
        page.wait_for_selector("#assignments b")
        if page.inner_text("#hero-title") != original:
            break
        context.clear_cookies()
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
    page.wait_for_function("!document.querySelector('#events .state:not(.stored)')")
    experiment = f"{server.url}/api/analytics/experiments/{server.demo['experimentId']}"
    authorization = {"Authorization": f"Bearer {server.demo['secretKey']}"}
    assert httpx.post(f"{experiment}/stop", headers=authorization).status_code == 200
    assert page.inner_text("#hero-title") != original
    page.click("#cta")
    page.wait_for_function("title => document.querySelector('#hero-title').textContent === title", arg=original)
    assert page.evaluate("grademypage.getExperimentAssignments()") == []


@pytest.mark.thorough
def test_simulated_visitors_with_a_true_lift_are_found_better(server) -> None:
    """Thousands of visitors over HTTP with a large true lift end in the verdict `better`, and as counted.

    They come with several browsers and from several places, so that a demo has something to break down.
    """
    arguments = ["--url", server.url, "--visitors", "3000", "--baseline", "0.2", "--lift", "0.5", "--seed", "7"]
    command = [sys.executable, "-m", "app", "simulate", *arguments]
    told = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PROOFLOG_DATA_DIR": str(server.data_dir)},
    ).stdout

    results = _wait_for(server, lambda found: sum(arm["visitors"] for arm in found["variants"]) == 3000)

    [purchase] = [goal for goal in results["goals"] if goal["name"] == "purchase"]
    [revenue] = [goal for goal in results["goals"] if goal["name"] == "revenue"]
    names = {arm["variantId"]: arm["name"] for arm in results["variants"]}
    for arm in purchase["variants"]:
        assert f"{arm['converters']} of    {arm['visitors']}" in told.replace(names[arm["variantId"]], "")
    assert [arm["converters"] for arm in revenue["variants"]] == [
        arm["converters"] for arm in purchase["variants"]
    ]
    [comparison] = purchase["comparisons"]
    assert comparison["verdict"] == "better"
    # Ids are new each time, and with them who sees what: four standard errors are .4.
    assert comparison["relative"]["low"] > 0
    assert abs(comparison["relative"]["estimate"] - 0.5) < 0.4
    assert results["sampleRatio"]["healthy"]
    token = (server.data_dir / "admin-token").read_text().strip()
    with httpx.Client(base_url=server.url, follow_redirects=True) as reader:
        reader.post("/dashboard/login", data={"token": token})
        for dimension, values in (
            ("device", {"phone", "desktop", "tablet"}),
            ("referrer", {"not known", "search.example", "news.example"}),
            ("utm_source", {"not known", "newsletter"}),
        ):
            shown = reader.get(
                f"/dashboard/experiments/{server.demo['experimentId']}", params={"by": dimension}
            ).text
            assert set(re.findall(r'<th scope="rowgroup"[^>]*>([^<]*)</th>', shown)) == values


def _wait_for(server, reached) -> dict:
    deadline = time.monotonic() + 10
    while True:
        found = server.results()
        if (reached(found) and found["lag"]["events"] == 0) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
