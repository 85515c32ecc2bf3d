"""GET /script.js: one request brings the code and the running experiments."""

import json

import httpx
import pytest
from syrupy.assertion import SnapshotAssertion

from app.settings import Settings
from tests.app.http_project import API, HttpProject, Json, experiment_body, open_client, open_project
from tests.app.wire_shape import wire


async def test_the_script_comes_with_headers_that_let_it_be_cached(
    project: HttpProject, snapshot: SnapshotAssertion
) -> None:
    """JavaScript, an ETag, a minute of freshness, and any page may load it."""
    assert wire(await script(project)) == snapshot


async def test_the_script_carries_what_runs_now(project: HttpProject) -> None:
    """It changes with the experiments, and names its project and where to post."""
    experiment = await project.running()
    config = config_of(await script(project))
    assert (config["projectId"], config["baseUrl"]) == (project.project_id, "http://prooflog.test")
    assert [each["id"] for each in config["experiments"]] == [experiment["id"]]
    await project.step(experiment, "pause")
    assert config_of(await script(project))["experiments"] == []


async def test_the_script_posts_to_the_public_address_if_there_is_one(database_url: str) -> None:
    """Behind a proxy the origin that the server sees is not the one that browsers know."""
    public = Settings(public_url="https://stats.shop.example/p")
    async with open_client(database_url, public) as client:
        config = config_of(await script(await open_project(client)))
    assert config["baseUrl"] == "https://stats.shop.example/p"


async def test_nothing_in_an_experiment_ends_the_script(project: HttpProject) -> None:
    """Names and values are data, whatever they hold."""
    nasty = '</script><!-- "\\\u2028 ✿ __GMP_CONFIG__'
    variants = experiment_body()["variants"]
    variants[1] |= {"name": nasty, "changes": [{"selector": "h1", "changeType": "text", "value": nasty}]}
    await project.running(name=nasty, variants=variants)
    answer = await script(project)
    assert "</script" not in answer.text
    [experiment] = config_of(answer)["experiments"]
    assert experiment["variants"][1]["changes"][0]["value"] == nasty


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("*", "br"),
        ("identity", None),
    ],
)
async def test_the_script_comes_compressed_as_the_browser_can_take_it(
    project: HttpProject, accepted: str, coding: str | None
) -> None:
    """Brotli before gzip, never what was refused; each coding has its own ETag, and the same script inside."""
    plain = await script(project, headers={"accept-encoding": "identity"})
    answer = await script(project, headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == coding
    assert "Accept-Encoding" in answer.headers["vary"]
    assert answer.text == plain.text
    assert (answer.headers["etag"] == plain.headers["etag"]) == (coding is None)
    assert int(answer.headers["content-length"]) <= len(plain.content)


async def test_who_has_the_script_already_gets_304(project: HttpProject, snapshot: SnapshotAssertion) -> None:
    """Until an experiment changes."""
    etag = (await script(project)).headers["etag"]
    assert wire(await script(project, headers={"if-none-match": etag})) == snapshot
    await project.running()
    assert (await script(project, headers={"if-none-match": etag})).status_code == 200


async def test_a_page_that_is_looked_at_loads_what_talks_to_the_dashboard(project: HttpProject) -> None:
    """Another script of the same address, that knows no experiment and only where the dashboard is."""
    await project.running()
    parameters = {"projectId": project.project_id, "preview": "1"}
    answer = await project.client.get(f"{API}/script.js", params=parameters)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert '{"baseUrl":"http://prooflog.test"}' in answer.text
    assert project.project_id not in answer.text


async def test_the_script_stays_small(project: HttpProject) -> None:
    """4.0 KB compressed on pages without experiments, 6.0 KB with ten of them."""
    sizes = []
    for _ in range(2):
        answer = await script(project, headers={"accept-encoding": "gzip"})
        sizes.append(int(answer.headers["content-length"]))
        for number in range(10):
            await project.running(name=f"Headline {number}")
    assert sizes[0] <= 4.0 * 1024
    assert sizes[1] <= 6.0 * 1024


async def test_without_a_project_there_is_no_script(
    client: httpx.AsyncClient, snapshot: SnapshotAssertion
) -> None:
    """400 for an id that is none and for no id, 404 for one that nobody has."""
    for query in ("", "?projectId=%FF", "?projectId=0b7b1f9e-0000-4000-8000-000000000000"):
        assert wire(await client.get(f"{API}/script.js{query}")) == snapshot


async def script(project: HttpProject, **request: object) -> httpx.Response:
    """The project's script."""
    parameters = {"projectId": project.project_id}
    return await project.client.get(f"{API}/script.js", params=parameters, **request)


def config_of(answer: httpx.Response) -> Json:
    """The configuration that is inlined into the script."""
    config: Json
    config, _ = json.JSONDecoder().raw_decode(answer.text, answer.text.index('{"projectId"'))
    return config
