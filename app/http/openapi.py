"""The API's description: OpenAPI 3.1 with the bodies that handlers read as bytes, and pages that show it."""

from importlib import resources
from types import GenericAlias
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router

from app.http.backend import EventAnswer, NewProject, NewProjectAnswer, RotatedKey
from app.http.browser import Accepted
from app.problems import ProblemBody
from app.results_shape import Results
from domain.events import ServerEventRequest, TrackEvent
from domain.experiment import Experiment, ExperimentPatch, NewExperiment

_ASSETS = "/schema/assets"
_API = "/api/analytics"
_EXPERIMENT = f"{_API}/experiments/{{experiment_id}}"


def _readable(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The struct with objects where it keeps raw bytes, which have no schema."""
    return msgspec.defstruct(
        kind.__name__,
        [
            (field.name, dict[str, Any] | None, None)
            if field.type is msgspec.Raw
            else (field.name, field.type, field.default)
            if field.default is not msgspec.NODEFAULT
            else (field.name, field.type)
            for field in msgspec.structs.fields(kind)
        ],
        rename="camel",
        kw_only=True,
    )


_TrackRequest = msgspec.defstruct(
    "TrackRequest",
    [("project_id", str), ("events", GenericAlias(list, (_readable(TrackEvent),)))],
    rename="camel",
)

# method, path: body, status and body of the answer, who may call.
_DESCRIBED: dict[tuple[str, str], tuple[Any, str, Any, str | None]] = {
    ("post", f"{_API}/track"): (_TrackRequest, "202", Accepted, None),
    ("post", f"{_API}/server-events"): (_readable(ServerEventRequest), "201", EventAnswer, "secretKey"),
    ("post", f"{_API}/projects"): (NewProject, "201", NewProjectAnswer, "adminToken"),
    ("post", f"{_API}/secret-keys/rotate"): (None, "201", RotatedKey, "secretKey"),
    ("post", f"{_API}/experiments"): (NewExperiment, "201", Experiment, "secretKey"),
    ("get", f"{_API}/experiments"): (None, "200", None, "secretKey"),
    ("get", _EXPERIMENT): (None, "200", Experiment, "secretKey"),
    ("patch", _EXPERIMENT): (ExperimentPatch, "200", Experiment, "secretKey"),
    ("post", f"{_EXPERIMENT}/{{step}}"): (None, "200", Experiment, "secretKey"),
    ("get", f"{_EXPERIMENT}/results"): (None, "200", Results, "secretKey"),
}
_PUBLIC_KEY = {
    "name": "projectId",
    "in": "query",
    "required": True,
    "description": "The project's public key.",
    "schema": {"type": "string", "format": "uuid"},
}


def openapi_config(version: str) -> OpenAPIConfig:
    """The description under /schema, its JSON under /schema/openapi.json."""
    return OpenAPIConfig(
        title="prooflog",
        version=version,
        path="/schema",
        render_plugins=[
            _Pages(
                path=["/", "/swagger"],
                favicon=f"<link rel='icon' href='{_ASSETS}/favicon-32x32.png'>",
                js_url=f"{_ASSETS}/swagger-ui-bundle.js",
                css_url=f"{_ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{_ASSETS}/swagger-ui-standalone-preset.js",
            ),
            _Json(),
        ],
    )


def openapi_assets() -> Router:
    """The files that the pages load, from an installed package: they work without the internet."""
    directory = resources.files("swagger_ui") / "static"
    return create_static_files_router(_ASSETS, [str(directory)], include_in_schema=False)


class _Pages(SwaggerRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, _described(openapi_schema))


class _Json(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, _described(openapi_schema))


def _described(generated: dict[str, Any]) -> dict[str, Any]:
    """The generated description with bodies, answers and keys; the given one stays as it is."""
    paths = {path: dict(operations) for path, operations in generated["paths"].items()}
    types = [kind for body, _, answer, _ in _DESCRIBED.values() for kind in (body, answer) if kind]
    schemas, components = msgspec.json.schema_components(
        [*types, ProblemBody], ref_template="#/components/schemas/{name}"
    )
    reference = dict(zip([*types, ProblemBody], schemas, strict=True))
    problem = {"application/problem+json": {"schema": reference[ProblemBody]}}
    for (method, path), (body, status, answer, key) in _DESCRIBED.items():
        operation = dict(paths[path][method])
        if body is not None:
            content = {"application/json": {"schema": reference[body]}}
            operation["requestBody"] = {"required": True, "content": content}
        operation["responses"] = {
            status: {
                "description": "Done.",
                **({"content": {"application/json": {"schema": reference[answer]}}} if answer else {}),
            },
            "4XX": {"description": "Refused, with the reason.", "content": problem},
            "503": {"description": "Overloaded: try again after Retry-After.", "content": problem},
        }
        if key is not None:
            operation["security"] = [{key: []}]
        paths[path] = {**paths[path], method: operation}
    for path in (f"{_API}/script.js", f"{_API}/experiments/active"):
        paths[path]["get"] = {**paths[path]["get"], "parameters": [_PUBLIC_KEY]}
    keys = {name: {"type": "http", "scheme": "bearer"} for name in ("secretKey", "adminToken")}
    return {**generated, "paths": paths, "components": {"schemas": components, "securitySchemes": keys}}
