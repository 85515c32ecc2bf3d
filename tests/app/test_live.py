"""Streams of open pages: what they say, how few they are, and when they end."""

import asyncio
import re
import uuid
from collections.abc import Callable

import httpx
import pytest

from app import live as watching
from app.http.dashboard import live
from tests.app.http_project import HttpProject, another_browser, conversion, csrf, impression, log_in
from tests.app.test_dashboard import address, sold


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits seconds for a test."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(live, "CHECK_SECONDS", 0.2)


def events_of(answer: httpx.Response) -> list[tuple[str, str, str]]:
    """Name, id and data of what a stream sent until it ended, less its heartbeats."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    text = answer.text.replace("\r\n", "\n")
    found = re.findall(r"^(?:id: (.*)\n)?event: (.*)\ndata: (.*)$", text, re.MULTILINE)
    return [(name, number, data) for number, name, data in found if name != "lag"]


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that comes soon."""
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.01)


async def test_a_stream_says_when_there_is_more_and_ends_with_the_session(project: HttpProject) -> None:
    """Nothing for what the page has, one `moved` for what it lacks, `over` after a log out; then nobody looks."""
    experiment = await sold(project)
    visitor, services = await log_in(project.client), project.client._transport.app.state.services  # noqa: SLF001
    page = await visitor.get(address(experiment))
    [stream, position] = re.findall(r'data-live="([^"]*)" data-position="(\d+)"', page.text)[0]
    streaming = [
        asyncio.create_task(visitor.get(stream, params={"after": position})),
        asyncio.create_task(visitor.get(stream, params={"after": 0}, headers={"Last-Event-ID": position})),
    ]
    await until(lambda: services.live._watched.total() == 2)  # noqa: SLF001
    await project.accepted(conversion("0-99"), impression(experiment, 0, "another"))
    await project.results(experiment)
    await asyncio.sleep(0.5)
    await visitor.post("/dashboard/logout", data={"csrf": await csrf(visitor)})
    async with asyncio.timeout(10):
        sent = [events_of(await task) for task in streaming]
    for events in sent:
        assert events[-1] == ("over", "", "These numbers stand still: log in again to see newer ones.")
        assert [name for name, _, _ in events[:-1]] == ["moved"] * (len(events) - 1)
        assert 1 <= len(events) - 1 <= 2
        assert events[-2][1] == str(int(position) + 2)
        assert events[-2][2] == "Everything that has arrived is counted."
    assert services.live._watched.total() == 0  # noqa: SLF001
    await until(services.live._polling.done)  # noqa: SLF001


async def test_a_share_link_has_a_stream_until_it_is_revoked(project: HttpProject) -> None:
    """Whoever has the link sees numbers renew themselves, and no longer than it shows them."""
    experiment = await sold(project)
    owner, settings = await log_in(project.client), f"/dashboard/projects/{project.project_id}"
    form = {"csrf": await csrf(owner), "experiment": experiment["id"], "link_id": str(uuid.uuid4())}
    made = await owner.post(f"{settings}/share-links", data=form)
    [shared] = re.findall(r"/dashboard/shared/[\w-]{64}", made.text)
    guest = another_browser(project.client)
    [stream] = re.findall(r'data-live="([^"]*)"', (await guest.get(shared)).text)
    streaming = asyncio.create_task(guest.get(stream, params={"after": "1"}))
    await asyncio.sleep(0.3)
    assert not streaming.done()
    await owner.post(f"{settings}/share-links/{form['link_id']}/revoke", data={"csrf": form["csrf"]})
    async with asyncio.timeout(10):
        events = events_of(await streaming)
    assert {name for name, _, _ in events[:-1]} == {"moved"}
    assert events[-1] == ("over", "", "These numbers stand still: this link was withdrawn.")
    assert (await guest.get(stream)).status_code == 404


async def test_past_moments_strangers_and_crowds_get_no_stream(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of the past has none, who is not logged in is sent away, and a full process says so at once."""
    experiment = await sold(project)
    visitor = await log_in(project.client)
    assert "data-live" not in (await visitor.get(address(experiment), params={"asOf": "5"})).text
    assert (await project.client.get(f"{address(experiment)}/live")).status_code == 303
    monkeypatch.setattr(watching.Live, "WATCHERS_MAX", 0)
    refused = await visitor.get(f"{address(experiment)}/live")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_all_streams_of_a_process_ask_one_question(
    project: HttpProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many look at however many projects, and an end of the server ends every stream."""
    asked: list[int] = []
    ask = watching.standings

    async def counting(connection, project_ids):
        asked.append(len(project_ids))
        return await ask(connection, project_ids)

    monkeypatch.setattr(watching, "standings", counting)
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.2)
    experiment = await sold(project)
    visitor, services = await log_in(project.client), project.client._transport.app.state.services  # noqa: SLF001
    streams = [asyncio.create_task(visitor.get(f"{address(experiment)}/live?after=1")) for _ in range(20)]
    await until(lambda: services.live._watched.total() == 20)  # noqa: SLF001
    asked.clear()
    await asyncio.sleep(1)
    assert 1 <= len(asked) <= 6
    assert set(asked) == {1}
    await services.live.close()
    async with asyncio.timeout(5):
        assert {len(events_of(answer)) for answer in await asyncio.gather(*streams)} == {1}
