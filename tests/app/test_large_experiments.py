"""The page of an experiment with as many goals and variants as there may be: short, and leading to all of them."""

import gc
import html
import re
from typing import Any

import httpx
import pytest

from app.compression import quickly_compressed
from app.result_breakdown import VALUES_MAX
from app.result_part import ROWS_MAX, VARIANTS_MAX
from tests.app.http_project import HttpProject, Json, conversion, impression, log_in
from tests.app.test_dashboard import words

GOALS, VARIANTS = 50, 20
WEIGHT_MAX = 100_000


@pytest.fixture
async def visitor(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Somebody who has logged in."""
    return await log_in(client)


async def large(project: HttpProject, days: int = 1) -> Json:
    """Every variant is seen, on each of some days; of the last one everybody reaches the first goal, a primary."""
    roles = ["secondary"] * (GOALS - 5) + ["guardrail"] * 3 + ["primary"] * 2
    goals = [
        {
            "name": f"goal & {at}",
            "eventType": "conversion",
            "eventName": f"g{at}",
            "kind": "conversion",
            "role": role,
        }
        for at, role in enumerate(roles)
    ]
    variants = [
        {"name": f"Variant {at}", "isControl": at == 1, "weight": 1, "changes": []} for at in range(VARIANTS)
    ]
    experiment = await project.running(goals=goals, variants=variants)
    day_ms = 24 * 3600 * 1000
    for day in range(days):
        seen = [impression(experiment, at % VARIANTS, f"{day} {at}") for at in range(VARIANTS * 2)]
        await project.accepted(*({**event, "timestamp": event["timestamp"] - day * day_ms} for event in seen))
    crowd = [(variant, f"{variant} of {number}") for variant in (1, VARIANTS - 1) for number in range(150)]
    await project.accepted(*(impression(experiment, variant, name) for variant, name in crowd))
    await project.accepted(*(conversion(name, name="g49") for variant, name in crowd if variant != 1))
    await project.results(experiment)
    return experiment


def address(experiment: Json) -> str:
    """Where an experiment's page is."""
    return f"/dashboard/experiments/{experiment['id']}"


def goals_of(page: httpx.Response) -> list[str]:
    """The goals that a page shows in full."""
    return [html.unescape(name) for name in re.findall(r'aria-label="Goal ([^"]*)"', page.text)]


def rows_of(page: httpx.Response, table: str) -> list[str]:
    """The variants in the rows of a page's first table of a kind."""
    part = page.text.partition(f'class="cards {table}"')[2].partition("</table>")[0]
    return re.findall(r'<th scope="row">(Variant \d+)', part)


def days_of(page: httpx.Response) -> list[str]:
    """The days that a page has as numbers."""
    return re.findall(r'<tr><th scope="row">(\d{4}-\d\d-\d\d)<', page.text)


async def test_a_page_of_many_goals_and_variants_is_short(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """At most 100 KB, also of a month: the primary goals in full, with the control and who has a verdict."""
    experiment = await large(project, days=29)

    page = await visitor.get(address(experiment))

    assert len(page.content) <= WEIGHT_MAX
    assert goals_of(page) == ["goal & 48", "goal & 49"]
    assert len(rows_of(page, "goal")) == VARIANTS_MAX
    assert {"Variant 1", f"Variant {VARIANTS - 1}"} < set(rows_of(page, "goal"))
    assert rows_of(page, "traffic") == [f"Variant {at}" for at in range(VARIANTS)]
    assert "better" in page.text.partition('class="cards goal"')[2]
    split = page.text.partition('class="cards traffic"')[2].partition("</table>")[0]
    described = re.findall(r'class="explained" tabindex="0" aria-describedby="(why-[^"]+)"', split)
    assert len(described) == split.count('class="num"', split.index("<tbody>")) == VARIANTS * 5
    assert set(described) == set(re.findall(r'role="tooltip" id="(why-[^"]+)"', split))
    assert '<details id="by-day">' in page.text
    days, turned = days_of(page), page
    assert len(set(re.findall(r'class="num explained" tabindex="0" aria-describedby="(why-d-.)"', page.text))) == 2
    while earlier := re.findall(r'<a rel="next" href="([^"]*)">Earlier days', turned.text):
        later, turned = days_of(turned), await visitor.get(html.unescape(earlier[0]))
        assert '<details id="by-day" open>' in turned.text
        days = days_of(turned) + days
        [link] = re.findall(r'<a rel="prev" href="([^"]*)">Later days', turned.text)
        back = await visitor.get(html.unescape(link))
        assert '<details id="by-day" open>' in back.text
        assert days_of(back) == later
    assert days == sorted(set(days))
    assert len(days) == 29


async def test_a_short_page_leads_to_every_goal_and_variant(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """By plain links: each goal with what is decided of it, all on one page; exports have all."""
    experiment = await large(project)
    page = await visitor.get(address(experiment))
    further = re.findall(r'<li><a href="([^"]*)">(goal [^<]*)</a>', page.text)
    named = [html.unescape(name) for _, name in further]
    assert sorted(named + goals_of(page)) == sorted(f"goal & {at}" for at in range(GOALS))
    for link, name in (further[0], further[-1]):
        found = await visitor.get(f"{address(experiment)}{html.unescape(link)}")
        assert html.unescape(name) in goals_of(found)
        assert len(found.content) <= WEIGHT_MAX

    links = {text: html.unescape(link) for link, text in re.findall(r'<a href="([^"]*)">([^<]*)</a>', page.text)}
    whole = await visitor.get(f"{address(experiment)}{links['Everything on one long page']}")
    assert len(quickly_compressed(whole.content, "br")) <= WEIGHT_MAX
    assert sorted(goals_of(whole)) == sorted(f"goal & {at}" for at in range(GOALS))
    assert rows_of(whole, "goal") == [f"Variant {at}" for at in range(VARIANTS)]
    assert "Further variants" not in whole.text
    export = await visitor.get(f"{address(experiment)}/export?format=csv")
    assert len(export.text.splitlines()) == 1 + GOALS * VARIANTS


async def test_variants_have_pages_each_with_the_control(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """Four others at a time, those with a verdict first; each is on one page, and no page is long."""
    experiment = await large(project)
    page, seen = await visitor.get(f"{address(experiment)}?by=device"), []
    for number in range(1, 6):
        assert len(page.content) <= WEIGHT_MAX
        assert f"Page {number} of 5" in page.text
        shown = rows_of(page, "goal")
        assert "Variant 1" in shown
        assert shown == sorted(shown, key=lambda name: int(name.split()[1]))
        assert set(rows_of(page, "goal")) == set(re.findall(r'data-label="Variant">([^<]*)<', page.text))
        seen += [name for name in shown if name != "Variant 1"]
        link = re.findall(r'<a rel="next" href="([^"]*)">Further variants', page.text)
        assert len(link) == (number < 5)
        assert all(f'id="{each.partition("#")[2]}"' in page.text for each in link)
        if link:
            page = await visitor.get(f"{address(experiment)}{html.unescape(link[0])}")
    assert f"Variant {VARIANTS - 1}" in seen[:4]
    assert sorted(seen) == sorted(f"Variant {at}" for at in range(VARIANTS) if at != 1)
    [back] = re.findall(r'<a rel="prev" href="([^"]*)">Variants before', page.text)
    assert "Page 4 of 5" in (await visitor.get(f"{address(experiment)}{html.unescape(back)}")).text


async def test_a_moment_and_a_choice_go_along_with_what_is_shown(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """Links and forms of a page that is turned to other variants, as of a position, lead to pages that are."""
    experiment = await large(project)
    position = (await project.results(experiment))["asOf"]["position"] - 1
    page = await visitor.get(f"{address(experiment)}?asOf={position}&variants=2&goal=goal+%26+3")
    variants = rows_of(page, "goal")
    assert goals_of(page) == ["goal & 3", "goal & 48"]
    [link] = re.findall(r'<li><a href="([^"]*)">goal &amp; 7</a>', page.text)
    found = await visitor.get(f"{address(experiment)}{html.unescape(link)}")
    assert goals_of(found) == ["goal & 7", "goal & 48"]
    assert rows_of(found, "goal") == variants != rows_of(await visitor.get(address(experiment)), "goal")
    assert f"at position {position}," in re.sub(r"\s+", " ", found.text)
    assert found.text.count('<input type="hidden" name="variants" value="2">') == 2
    [back] = re.findall(r'<a href="([^"]*)">See what is known now', found.text)
    now = await visitor.get(html.unescape(back))
    assert (goals_of(now), rows_of(now, "goal")) == (goals_of(found), variants)
    assert "at position" not in now.text


@pytest.mark.parametrize(("count", "segments"), [(2, 20), (3, 16), (VARIANTS_MAX, 10), (VARIANTS, 2)])
async def test_a_page_of_many_segments_is_short(
    visitor: httpx.AsyncClient, project: HttpProject, count: int, segments: int
) -> None:
    """At most 100 KB each: those with the most visitors first, each on one page, and the same on one long page."""
    if count < VARIANTS:
        variants = [
            {"name": f"Variant {at}", "isControl": at == 0, "weight": 1, "changes": []} for at in range(count)
        ]
        experiment = await project.running(goals=[goal(at) for at in range(3)], variants=variants)
    else:
        experiment = await large(project, days=29)
    for at in range(25):
        referrer = f"https://site-number-{at}.example/"
        seen = [f"from {at} {variant} {n}" for variant in range(count) for n in range(26 - at if count < 4 else 2)]
        await project.accepted(
            *(impression(experiment, int(name.split()[2]), name, referrer=referrer) for name in seen),
            *(conversion(name, name=f"g{number}") for name in seen[::2] for number in (0, 49)),
        )
    await project.results(experiment)

    page = await visitor.get(f"{address(experiment)}?by=referrer")

    assert len(page.content) <= WEIGHT_MAX
    shown = segments_of(page)
    assert len(shown) == segments
    while link := re.findall(r'<a rel="next" href="([^"]*)">Fewer visitors', page.text):
        page = await visitor.get(html.unescape(link[0]))
        assert len(page.content) <= WEIGHT_MAX
        shown += segments_of(page)
    assert len(shown) == VALUES_MAX
    links = re.findall(r'<a href="([^"]*)">Everything on one long page', page.text)
    assert len(links) == (count > VARIANTS_MAX or segments < VALUES_MAX)
    long = html.unescape(links[0]) if links else "?by=referrer&show=all"
    whole = segments_of(await visitor.get(f"{address(experiment)}{long}"))
    assert len(whole) == VALUES_MAX
    if count <= VARIANTS_MAX:
        assert whole == shown


def segments_of(page: httpx.Response) -> list[str]:
    """What a page says of each segment."""
    table = page.text.partition('class="cards segments"')[2].partition("</table>")[0]
    return [words(httpx.Response(200, text=body)) for body in table.split("<tbody>")[1:]]


async def test_a_goal_stays_chosen_before_anybody_was_exposed(
    visitor: httpx.AsyncClient, project: HttpProject
) -> None:
    """The link to exactly this view shows it, so does what comes live, and forms and other links name it."""
    fields: dict[str, Any] = {"goals": [goal(at) for at in range(8)]}
    experiment = await project.running(**fields)
    await project.results(experiment)
    page = await visitor.get(f"{address(experiment)}?goal=goal+7")
    assert "goal 7" in goals_of(page)
    for pattern in (r'id="exactly" href="([^"]+)"', r'data-view="([^"]+)"'):
        [again] = re.findall(pattern, page.text)
        assert goals_of(await visitor.get(html.unescape(again))) == goals_of(page)
    assert page.text.count('<input type="hidden" name="goal" value="goal 7">') == 1
    assert "<option selected>goal 7</option>" in page.text
    [link] = re.findall(r'<a href="([^"]*)">Everything on one long page', page.text)
    assert "goal=goal%207" in link


@pytest.mark.parametrize(
    "asked", ["show=nonsense", "show=ALL", "variants=0", "variants=-2", "variants=99", "days=x"]
)
async def test_what_no_page_is_called_shows_one_that_is_there(
    visitor: httpx.AsyncClient, project: HttpProject, asked: str
) -> None:
    """As if nothing had been asked for, or the last one."""
    fields: dict[str, Any] = {"goals": [goal(at) for at in range(6)]}
    experiment = await project.running(**fields)
    await project.accepted(impression(experiment, 0, "v"), impression(experiment, 1, "w"))
    await project.results(experiment)
    page = await visitor.get(f"{address(experiment)}?{asked}")
    assert goals_of(page) == [f"goal {at}" for at in range(ROWS_MAX // 2)]
    assert "Further variants" not in page.text


async def test_pages_leave_nothing_that_refers_to_itself(visitor: httpx.AsyncClient, project: HttpProject) -> None:
    """Templates import no macro with their context: what a page showed is let go of at once, not by a collector.

    Collections of what many pages had left made others wait for 50 to 80 ms.
    """
    experiment = await project.running(goals=[goal(0)])
    await project.accepted(impression(experiment, 0, "v"), impression(experiment, 1, "w"))
    position = (await project.results(experiment))["asOf"]["position"]
    at, draft = f"/dashboard/projects/{project.project_id}", await project.create()
    paths = ["/dashboard", at, f"{at}/settings", f"{at}/power", f"{at}/experiments/new", "/dashboard/account"]
    paths += [f"{address(draft)}/edit", f"{address(experiment)}/edit", f"{address(experiment)}/stop"]
    paths += [f"{address(experiment)}{asked}" for asked in ("", "?by=device", f"?asOf={position - 1}", "/why?q=v")]
    for path in paths:
        assert (await visitor.get(path)).status_code == 200
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await visitor.get(path)
            gc.collect()
            left = {type(each).__module__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not [module for module in left if module.startswith(("app.", "domain.", "jinja2."))], path


def goal(at: int) -> Json:
    """A goal of an ordinary experiment."""
    role = "secondary" if at else "primary"
    return {
        "name": f"goal {at}",
        "eventType": "conversion",
        "eventName": f"g{at}",
        "kind": "conversion",
        "role": role,
    }
