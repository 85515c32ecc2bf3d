"""Create and edit an experiment: a form that works without JavaScript, and what its preview asks for."""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from app.experiment_form import (
    ExperimentForm,
    add_or_remove,
    asked,
    copy_of,
    differences,
    drop_blank_rows,
    empty_form,
    form_of,
    is_blank,
    patch_of,
    read_form,
    whole,
    without_blank_variants,
)
from app.experiments import change_experiment, checked, create_experiment, read_experiment
from app.http.backend import parse_experiment_id, take_step
from app.http.dashboard.access import login_of, require_experiment, require_role
from app.http.dashboard.pages import HOME, SECURITY_HEADERS, AnyRequest, own_origin, page, services_of
from app.planning import Plan, PlanForm, plan
from app.projects import parse_project_id
from app.templates.fields import label_of
from domain import refusals
from domain.experiment import Experiment
from domain.refusals import FieldError, InvalidExperiment
from projections.traffic import read_page_address

# The pages of any site may be shown in the frame; they are kept from navigating the dashboard by its sandbox.
_FRAMES = SECURITY_HEADERS["Content-Security-Policy"] + "; frame-src http: https:"
# The order in which the form has them.
_FIELDS = (
    "name", "hypothesis", "type", "urlMatchType", "targetUrl", "trafficPercentage", "variants", "goals",
    "attributionWindowHours",
)  # fmt: skip


@get("/projects/{project_id:str}/experiments/new", include_in_schema=False)
async def new_experiment_page(request: AnyRequest, project_id: FromPath[str]) -> Response[bytes]:
    """An empty form, or with `from` a copy of another experiment of the project."""
    wanted = parse_project_id(project_id)
    require_role(request, wanted, "editor")
    form = empty_form()
    if source := request.query_params.get("from"):
        async with services_of(request).pool.connection() as connection:
            original = await read_experiment(connection, wanted, parse_experiment_id(source))
        if original is None:
            raise refusals.ExperimentNotFound
        form = copy_of(original)
    return await _form_page(request, wanted, form, None)


@post("/projects/{project_id:str}/experiments/new", include_in_schema=False)
async def save_new_experiment(request: AnyRequest, project_id: FromPath[str]) -> Response[Any]:
    """A new draft, or the form again: with a row more or less, a plan, or what is wrong."""
    wanted = parse_project_id(project_id)
    require_role(request, wanted, "editor")
    return await _take(request, wanted, None)


@get("/experiments/{experiment_id:str}/edit", include_in_schema=False)
async def edit_experiment_page(request: AnyRequest, experiment_id: FromPath[str]) -> Response[bytes]:
    """The form with what is stored."""
    project_id, wanted = await require_experiment(request, experiment_id, "editor")
    stored = await _stored(request, project_id, wanted)
    return await _form_page(request, project_id, form_of(stored), stored)


@post("/experiments/{experiment_id:str}/edit", include_in_schema=False)
async def save_experiment(request: AnyRequest, experiment_id: FromPath[str]) -> Response[Any]:
    """Save what may change, or the form again; what somebody else changed meanwhile is not overwritten."""
    project_id, wanted = await require_experiment(request, experiment_id, "editor")
    return await _take(request, project_id, await _stored(request, project_id, wanted))


@post("/projects/{project_id:str}/experiments/preview", status_code=200, include_in_schema=False)
async def preview_of_form(request: AnyRequest, project_id: FromPath[str]) -> Response[bytes]:
    """The changes of a form as they would be stored, sanitised, and what is wrong with them."""
    require_role(request, parse_project_id(project_id), "editor")
    form = read_form((await request.form()).multi_items())
    body, errors = await asyncio.to_thread(lambda: checked(*asked(form)))
    blank = {
        f"variants[{place}].changes[{number}]"
        for place, variant in enumerate(form.variants)
        for number, change in enumerate(variant.changes)
        if is_blank(change)
    }
    wrong = [error for error in errors if error.path.rpartition(".")[0] not in blank]
    bad = blank | {error.path.rpartition(".")[0] for error in wrong}
    variants = [
        {
            "name": variant.name,
            "changes": [
                {"path": path, "change": change}
                for path, change in ((f"variants[{place}].changes[{n}]", c) for n, c in enumerate(variant.changes))
                if path not in bad
            ],
        }
        for place, variant in enumerate(body.variants)
    ]
    answer = {"variants": variants, "errors": [error for error in wrong if ".changes[" in error.path]}
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(answer), media_type="application/json", headers=headers)


async def _take(request: AnyRequest, project_id: UUID, stored: Experiment | None) -> Response[Any]:
    fields = list((await request.form()).multi_items())
    form, wanted = read_form(fields), dict(fields).get("do", "save")
    if stored is not None and stored.status == "stopped" and wanted != "save":
        raise refusals.ExperimentStopped  # a part of the page would take the place of what was typed
    focus = add_or_remove(form, wanted)
    if focus is not None:
        return await _form_page(request, project_id, form, stored, focus=focus)
    typed = msgspec.convert(
        {name.removeprefix("plan."): text for name, text in fields if name.startswith("plan.")}, PlanForm
    )
    if wanted == "plan":
        body = asked(without_blank_variants(form)).body
        async with services_of(request).pool.connection() as connection:
            found = await plan(connection, services_of(request).traffic, project_id, body, typed)
        return await _form_page(request, project_id, form, stored, typed=typed, found=found, focus="plan")
    # What runs cannot be taken back: a variant without a name is asked about then.
    drop_blank_rows(form, variants_too=wanted != "start")
    try:
        saved = await _save(request, project_id, form, stored)
        if wanted == "start":
            await take_step(services_of(request), project_id, saved.id, "start", login_of(request).actor)
    except InvalidExperiment as refusal:
        return await _form_page(request, project_id, form, stored, status=422, errors=refusal.errors, typed=typed)
    except refusals.Refusal as refusal:
        if stored is None or refusal.status == "not_found":
            raise
        return await _conflict_page(request, project_id, form, stored.id, refusal)
    return Redirect(f"{HOME}/experiments/{saved.id}/edit?saved={saved.version}", status_code=303)


async def _save(
    request: AnyRequest, project_id: UUID, form: ExperimentForm, stored: Experiment | None
) -> Experiment:
    services, actor = services_of(request), login_of(request).actor
    body, errors = asked(form)
    async with services.pool.connection() as connection:
        if stored is None:
            saved = await create_experiment(connection, project_id, body, actor=actor, errors=errors)
        else:
            if (version := whole(form.version)) != stored.version:
                raise refusals.ExperimentChanged
            saved = await change_experiment(
                connection,
                project_id,
                stored.id,
                patch_of(form, body, stored),
                actor=actor,
                errors=errors,
                version=version,
            )
    services.changed(project_id)
    return saved


async def _conflict_page(
    request: AnyRequest, project_id: UUID, form: ExperimentForm, experiment_id: UUID, refusal: refusals.Refusal
) -> Response[bytes]:
    """The form as typed, with what is stored by now where it differs; saving once more is then a decision."""
    stored = await _stored(request, project_id, experiment_id)
    now = form_of(stored)
    different = [(label_of(path), text) for path, text in differences(form, now)]
    form.version = now.version
    return await _form_page(
        request, project_id, form, stored, status=409, refusal=refusal, different=different, focus="refused"
    )


async def _form_page(
    request: AnyRequest,
    project_id: UUID,
    form: ExperimentForm,
    stored: Experiment | None,
    *,
    status: int = 200,
    errors: list[FieldError] | None = None,
    refusal: refusals.Refusal | None = None,
    different: list[tuple[str, str]] | None = None,
    typed: PlanForm | None = None,
    found: Plan | None = None,
    focus: str = "",
) -> Response[bytes]:
    services = services_of(request)
    project = await services.projects.get(services.pool, project_id)
    if stored is not None and stored.started_at is not None:
        _freeze(form, form_of(stored))
    async with services.pool.connection() as connection:
        seen = await read_page_address(connection, project_id)
    server = services.settings.public_url or own_origin(request)
    answer = page(
        request,
        "experiment_form.html",
        status,
        project=project,
        stored=stored,
        form=form,
        errors=sorted(errors or [], key=_place_in_form),
        refusal=refusal,
        different=different or [],
        typed=typed or PlanForm(),
        plan=found,
        plan_errors=found.errors if found else [],
        focus="errors" if errors else focus,
        saved="saved" in request.query_params and status == 200 and request.method == "GET",  # noqa: PLR2004
        page_address=_page_address(form, project.allowed_origins, seen),
        server="{0.scheme}://{0.netloc}".format(urlsplit(server)),
    )
    answer.headers["Content-Security-Policy"] = _FRAMES
    return answer


def _place_in_form(error: FieldError) -> int:
    field = re.split(r"[.\[]", error.path)[0]
    return _FIELDS.index(field) if field in _FIELDS else len(_FIELDS)


def _page_address(form: ExperimentForm, origins: tuple[str, ...], seen: str | None) -> str:
    """The page to look at: of the target's address, on a site that is known."""
    target = form.target_url.strip()
    if target.startswith(("http://", "https://")):
        return target
    site = _site_of(seen, origins) if seen else None
    if site is None:
        seen, site = None, next(iter(origins), "")
    if target.startswith("/") and form.url_match_type in {"exact", "starts_with"}:
        return f"{site}{target}" if site else ""
    return seen or (f"{site}/" if site else "")


def _site_of(seen: str, origins: tuple[str, ...]) -> str | None:
    """The site of an address that was reported, which anybody can do; None unless it may be the project's."""
    try:
        site = "{0.scheme}://{0.netloc}".format(urlsplit(seen)).lower()
    except ValueError:
        return None
    return site if not origins or site in {origin.lower() for origin in origins} else None


def _freeze(form: ExperimentForm, stored: ExperimentForm) -> None:
    """Show what a started experiment cannot change as it is stored, and keep what was typed of the rest."""
    weights = {variant.id: variant.weight for variant in form.variants}
    for field in ("type", "target_url", "url_match_type", "attribution_window_hours", "control", "goals"):
        setattr(form, field, getattr(stored, field))
    for variant in stored.variants:
        variant.weight = weights.get(variant.id, variant.weight)
    form.variants = stored.variants


async def _stored(request: AnyRequest, project_id: UUID, experiment_id: UUID) -> Experiment:
    async with services_of(request).pool.connection() as connection:
        stored = await read_experiment(connection, project_id, experiment_id)
    if stored is None:
        raise refusals.ExperimentNotFound
    return stored
