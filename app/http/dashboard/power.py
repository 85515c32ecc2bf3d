"""The power calculator of a project: how many visitors an effect needs, and how long they take to come."""

from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from app.experiment_form import ExperimentForm, GoalForm, VariantForm, asked, whole
from app.http.dashboard.access import require_role
from app.http.dashboard.pages import AnyRequest, page, services_of
from app.planning import Plan, PlanForm, plan
from app.projects import parse_project_id
from domain.refusals import FieldError
from domain.validation import VARIANTS_MAX, VARIANTS_MIN


class _Question(msgspec.Struct, rename="camel"):
    url_match_type: str = "all"
    target_url: str = ""
    traffic_percentage: str = "100"
    variants: str = "2"
    kind: str = "conversion"
    event_type: str = "conversion"
    event_name: str = ""
    value_field: str = ""


@get("/projects/{project_id:str}/power", include_in_schema=False)
async def power_page(request: AnyRequest, project_id: FromPath[str]) -> Response[bytes]:
    """What is asked, and the answer; without a question, that of the goal that experiments have by themselves."""
    wanted = parse_project_id(project_id)
    require_role(request, wanted, "viewer")
    services = services_of(request)
    project = await services.projects.get(services.pool, wanted)
    fields: dict[str, Any] = dict(request.query_params.items())
    question = msgspec.convert(fields, _Question)
    typed = msgspec.convert(
        {name.removeprefix("plan."): text for name, text in fields.items() if name.startswith("plan.")}, PlanForm
    )
    count = whole(question.variants) or 0
    form = _form(question, count)
    body, errors = asked(form)
    if not VARIANTS_MIN <= count <= VARIANTS_MAX:
        errors.append(FieldError("variants", f"must be a whole number from {VARIANTS_MIN} to {VARIANTS_MAX}"))
    found = Plan(None, [], [], errors, None)
    if not errors:
        async with services.pool.connection() as connection:
            found = await plan(connection, services.traffic, wanted, body, typed)
    return page(request, "power.html", project=project, question=question, form=form, typed=typed, plan=found)


def _form(question: _Question, count: int) -> ExperimentForm:
    goal = GoalForm(
        name=question.event_name or question.event_type,
        kind=question.kind,
        event_type=question.event_type,
        event_name=question.event_name,
        value_field=question.value_field,
        role="primary",
    )
    treatments = min(max(count, VARIANTS_MIN), VARIANTS_MAX) - 1
    return ExperimentForm(
        url_match_type=question.url_match_type,
        target_url=question.target_url,
        traffic_percentage=question.traffic_percentage,
        variants=[VariantForm(name="Control", weight="1")]
        + [VariantForm(name=f"Variant {place + 1}", weight="1") for place in range(treatments)],
        goals=[goal],
    )
