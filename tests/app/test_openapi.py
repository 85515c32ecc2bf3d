"""The API's description: complete, and readable without the internet."""


async def test_the_description_names_every_route_of_the_api(client) -> None:
    """OpenAPI 3.1 with the body of track, its answer and the keys that backend routes need."""
    answer = await client.get("/schema/openapi.json")

    description = answer.json()
    assert description["openapi"].startswith("3.1")
    track = description["paths"]["/api/analytics/track"]["post"]
    assert track["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/TrackRequest"
    }
    assert track["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("/Accepted")
    assert "security" not in track
    rotate = description["paths"]["/api/analytics/secret-keys/rotate"]["post"]
    assert rotate["security"] == [{"secretKey": []}]


async def test_every_reference_leads_somewhere(client) -> None:
    """No schema refers to one that is not there."""
    text = (await client.get("/schema/openapi.json")).text
    known = (await client.get("/schema/openapi.json")).json()["components"]["schemas"]

    wanted = {part.split('"', 1)[0] for part in text.split("#/components/schemas/")[1:]}

    assert wanted <= set(known)
    assert {"TrackEvent", "Experiment", "Results", "ProblemBody"} <= wanted


async def test_the_pages_load_their_files_from_here(client) -> None:
    """The docs page names no other host for its script and style, and both are served."""
    page = (await client.get("/schema")).text

    assert "https://cdn" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/schema/assets/{name}" in page
        assert (await client.get(f"/schema/assets/{name}")).status_code == 200
