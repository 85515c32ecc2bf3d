"""What people take along: results and events as files, at the position that their page showed."""

import csv
import io
import json
import re

import httpx
import pyarrow.parquet as pq
import pytest

from app import export
from tests.app.http_project import HttpProject, Json, conversion, csrf, impression, log_in
from tests.app.test_dashboard import address, sold, words


def rows_of(answer: httpx.Response) -> list[Json]:
    """The rows of a file, whichever format it has; numbers of CSV stay text."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    form = answer.headers["content-disposition"].rpartition(".")[2].strip('"')
    if form == "csv":
        return list(csv.DictReader(io.StringIO(answer.text)))
    if form == "ndjson":
        return [json.loads(line) for line in answer.text.splitlines()]
    return pq.read_table(io.BytesIO(answer.content)).to_pylist()


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
async def test_results_leave_as_they_are_shown(project: HttpProject, form: str) -> None:
    """The links of a page give its position, digest and method as a file, also after more was counted."""
    experiment = await sold(project)
    visitor = await log_in(project.client)
    page = await visitor.get(address(experiment), params={"method": "fixed"})
    [link] = re.findall(rf'href="(/dashboard/experiments/[^"]*/export[^"]*format={form})"', page.text)
    [position] = re.findall(r"asOf=(\d+)", link)
    [digest] = re.findall(r'<code class="digest">([^<]+)</code>', page.text)
    before = rows_of(await visitor.get(link.replace("&amp;", "&")))
    await project.accepted(conversion("0-99"))
    await project.results(experiment)
    rows = rows_of(await visitor.get(link.replace("&amp;", "&")))
    assert rows == before
    assert {(str(row["position"]), row["digest"]) for row in rows} == {(position, digest)}
    [bold] = [row for row in rows if (row["goal"], row["variant"]) == ("purchase", "Bold")]
    told = ("visitors", "converters", "isControl", "method", "decidedLiftLow", "reason")
    results = await project.results(experiment, asOf=position, method="fixed")
    comparison = results["goals"][0]["comparisons"][0]
    expected = [100, 60, False, "fixed", comparison["relative"]["low"], comparison["reason"]]
    assert [str(bold[name]) for name in told] == [str(value) for value in expected]


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
async def test_events_leave_in_order_and_in_parts(
    project: HttpProject, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event up to the position asked for, whatever the size of a page; nothing behind it."""
    monkeypatch.setattr(export, "PAGE_ROWS", 3)
    experiment = await project.running()
    names = [f"{sign}cmd" for sign in "=+-@\t\r\n＝＋－＠"]  # noqa: RUF001  (spreadsheets take wide signs too)
    await project.accepted(*(impression(experiment, 1, name) for name in names))
    visitor = await log_in(project.client)
    at = f"/dashboard/projects/{project.project_id}/events?format={form}"
    rows = rows_of(await visitor.get(at))
    assert [int(row["position"]) for row in rows] == list(range(1, len(rows) + 1))
    # A spreadsheet must not run what a visitor sent.
    seen = [row["visitorId"] for row in rows[-len(names) :]]
    assert seen == [f"'{name}" if form == "csv" else name for name in names]
    assert rows_of(await visitor.get(f"{at}&asOf=5")) == rows[:5]
    for wrong in ("asOf=999999", "asOf=x", "format=xls"):
        assert (await visitor.get(f"{at.partition(chr(63))[0]}?{wrong}")).status_code == 400


async def test_who_may_take_what(project: HttpProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers and share links take results, editors events too; too many exports at once are turned away."""
    experiment = await sold(project)
    admin = await log_in(project.client)
    settings = f"/dashboard/projects/{project.project_id}"
    form = {"csrf": await csrf(admin), "name": "Vi", "role": "viewer", "password": "long enough words"}
    assert (await admin.post(f"{settings}/users", data=form)).status_code == 303
    viewer = await log_in(project.client, name="Vi", password="long enough words")
    stranger = await log_in(project.client, token=project.secret_key)
    events, results = f"{settings}/events", f"{address(experiment)}/export"
    assert [(await who.get(results)).status_code for who in (admin, viewer, stranger)] == [200, 200, 200]
    assert [(await who.get(events)).status_code for who in (admin, viewer, stranger)] == [200, 403, 200]
    assert "/events?" not in (await viewer.get(address(experiment))).text
    monkeypatch.setattr(export.EventExports, "RUNNING_MAX", 0)
    refused = await admin.get(events)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "try again" in words(refused).lower()
