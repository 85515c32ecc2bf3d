"""The form of an experiment: what people typed, as they typed it, and what it asks for.

Its fields are named by the paths that refusals use (`variants[1].changes[0].selector`), so that each
reason finds its field.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec import UNSET, structs

from app.problems import Problem
from domain.experiment import (
    Experiment,
    ExperimentPatch,
    Goal,
    NewExperiment,
    NewVariant,
    Variant,
    VariantChange,
    VariantPatch,
)
from domain.plan import (
    ATTRIBUTION_WINDOW_HOURS,
    ChangeType,
    ExperimentType,
    GoalKind,
    GoalRole,
    UrlMatchType,
)
from domain.refusals import FieldError
from domain.validation import VARIANTS_MIN

# More than an experiment may have, so that people hear of it beside what they typed.
ROWS_MAX = 100
_WHOLE_DIGITS_MAX = 9

_ROW = re.compile(r"(variants|goals)\[([0-9]{1,4})\]\.(?:changes\[([0-9]{1,4})\]\.)?([A-Za-z]+)")
# As pages print it; a comma after a 0 stands for a point in many countries.
_WITH_COMMAS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")
_STEP = re.compile(r"(add|remove)-(variant|change|goal)(?::([0-9]{1,4}))?(?::([0-9]{1,4}))?")


class _Typed(msgspec.Struct, rename="camel", kw_only=True):
    """Fields are text, named as in JSON."""


class ChangeForm(_Typed):
    """A change of a variant."""

    selector: str = ""
    change_type: str = "text"
    property: str = ""
    value: str = ""


class VariantForm(_Typed):
    """A variant; `id` is empty for one that is not stored yet."""

    id: str = ""
    name: str = ""
    weight: str = "50"
    changes: list[ChangeForm] = []


class GoalForm(_Typed):
    """A goal."""

    name: str = ""
    kind: str = "conversion"
    event_type: str = ""
    event_name: str = ""
    value_field: str = ""
    role: str = "secondary"


class ExperimentForm(_Typed):
    """A whole form; `control` is the place of the control, `version` what the form was filled from."""

    name: str = ""
    hypothesis: str = ""
    type: str = "copy"
    target_url: str = ""
    url_match_type: str = "exact"
    traffic_percentage: str = "100"
    attribution_window_hours: str = str(ATTRIBUTION_WINDOW_HOURS)
    control: str = "0"
    version: str = ""
    variants: list[VariantForm] = []
    goals: list[GoalForm] = []


class Asked(NamedTuple):
    """What a form asks for; where a field is not readable, an error stands for it and any value in its place."""

    body: NewExperiment
    errors: list[FieldError]


def empty_form() -> ExperimentForm:
    """Two variants and the goal that an experiment has if nobody says another."""
    return ExperimentForm(
        variants=[VariantForm(name="Control"), VariantForm(name="Variant", changes=[ChangeForm()])],
        goals=[GoalForm(name="conversion", event_type="conversion", role="primary")],
    )


def form_of(experiment: Experiment) -> ExperimentForm:
    """A form that asks for nothing but what is stored."""
    return ExperimentForm(
        name=experiment.name,
        hypothesis=experiment.hypothesis or "",
        type=experiment.type,
        target_url=experiment.target_url,
        url_match_type=experiment.url_match_type,
        traffic_percentage=_shown(experiment.traffic_percentage),
        attribution_window_hours=str(experiment.attribution_window_hours),
        control=str(next((n for n, variant in enumerate(experiment.variants) if variant.is_control), 0)),
        version=str(experiment.version),
        variants=[_variant_form(variant) for variant in experiment.variants],
        goals=[GoalForm(**{k: v or "" for k, v in structs.asdict(goal).items()}) for goal in experiment.goals],
    )


def copy_of(experiment: Experiment) -> ExperimentForm:
    """A form for a new experiment like this one."""
    form = form_of(experiment)
    form.name, form.version = f"{form.name} (again)", ""
    for variant in form.variants:
        variant.id = ""
    return form


def read_form(fields: Iterable[tuple[str, Any]]) -> ExperimentForm:
    """A form from the fields that a browser sent, rows in their order; Problem 413 for one with too many."""
    top: dict[str, str] = {}
    rows: dict[str, dict[int, dict[str, Any]]] = {"variants": {}, "goals": {}}
    for name, value in fields:
        if not isinstance(value, str):
            continue
        text = value.replace("\r\n", "\n")  # forms send line breaks so, whatever was stored
        found = _ROW.fullmatch(name)
        if found is None:
            if name not in rows:
                top[name] = text
            continue
        kind, place, change, field = found.groups()
        row = rows[kind].setdefault(int(place), {})
        if change is not None:
            row.setdefault("changes", {}).setdefault(int(change), {})[field] = text
        elif field != "changes":
            row[field] = text
    places, control = sorted(rows["variants"]), whole(top.get("control", ""))
    if control is not None and control in places:
        top["control"] = str(places.index(control))
    variants = [{**row, "changes": _in_order(row.get("changes", {}))} for row in _in_order(rows["variants"])]
    return msgspec.convert({**top, "variants": variants, "goals": _in_order(rows["goals"])}, ExperimentForm)


def whole(text: str) -> int | None:
    """The place or version that a hidden field holds; None for what is none."""
    return int(text) if text.isdecimal() and len(text) <= _WHOLE_DIGITS_MAX else None


def without_commas(text: str) -> str:
    """A number as people type it, less the commas that pages print between thousands."""
    plain = text.strip()
    return plain.replace(",", "") if _WITH_COMMAS.fullmatch(plain) else plain


def add_or_remove(form: ExperimentForm, step: str) -> str | None:
    """Add or remove a row as a button of the form says; the name of the field to go on with.

    None when the step is none of these (`add-variant`, `add-change:1`, `remove-change:1:0`, …).
    """
    found = _STEP.fullmatch(step)
    if found is None:
        return None
    verb, kind = found[1], found[2]
    first, second = (int(group) if group else 0 for group in found.group(3, 4))
    if kind == "change" and first >= len(form.variants):
        return ""
    rows: list[Any] = (
        form.variants if kind == "variant" else form.goals if kind == "goal" else form.variants[first].changes
    )
    path = f"variants[{first}].changes" if kind == "change" else f"{kind}s"
    if verb == "add":
        if len(rows) < ROWS_MAX:
            rows.append(_new_row(form, kind))
        return f"{path}[{len(rows) - 1}].{'selector' if kind == 'change' else 'name'}"
    place = second if kind == "change" else first
    if place < len(rows):
        del rows[place]
        if kind == "variant":
            _move_control(form, place)
    return f"add-{kind}:{first}" if kind == "change" else f"add-{kind}"


def asked(form: ExperimentForm) -> Asked:
    """What a form asks for, with an error for each field that cannot be read at all."""
    errors: list[FieldError] = []
    number = _Numbers(errors)
    control = whole(form.control)
    body = NewExperiment(
        name=form.name.strip(),
        hypothesis=form.hypothesis.strip() or None,
        type=_choice(errors, "type", form.type, ExperimentType),
        target_url=form.target_url.strip(),
        url_match_type=_choice(errors, "urlMatchType", form.url_match_type, UrlMatchType),
        traffic_percentage=number.read("trafficPercentage", form.traffic_percentage, 100),
        attribution_window_hours=int(
            number.read("attributionWindowHours", form.attribution_window_hours, 1, whole=True)
        ),
        variants=tuple(
            NewVariant(
                name=variant.name.strip(),
                weight=number.read(f"variants[{place}].weight", variant.weight, 1),
                is_control=place == control,
                changes=tuple(_changes(errors, f"variants[{place}].changes", variant.changes)),
            )
            for place, variant in enumerate(form.variants)
        ),
        goals=tuple(_goals(errors, form.goals)),
    )
    return Asked(body, errors)


def patch_of(form: ExperimentForm, body: NewExperiment, experiment: Experiment) -> ExperimentPatch:
    """What a form changes of a stored experiment: of one that has started only what may change then."""
    ids = {str(variant.id): variant.id for variant in experiment.variants}
    stored = [ids.get(variant.id, UNSET) for variant in form.variants]
    if experiment.started_at is not None:
        return ExperimentPatch(
            name=body.name,
            hypothesis=body.hypothesis,
            traffic_percentage=body.traffic_percentage,
            variants=tuple(
                VariantPatch(id=id_, weight=variant.weight)
                for id_, variant in zip(stored, body.variants, strict=True)
                if id_ is not UNSET
            ),
        )
    fields = {field: getattr(body, field) for field in body.__struct_fields__ if field != "variants"}
    variants = tuple(
        VariantPatch(id=id_, **structs.asdict(variant)) for id_, variant in zip(stored, body.variants, strict=True)
    )
    return ExperimentPatch(**fields, variants=variants)


def drop_blank_rows(form: ExperimentForm, *, variants_too: bool = True) -> None:
    """Take out the changes and goals that were added and never filled in; variants if they are to go, too."""
    for variant in form.variants:
        variant.changes = [change for change in variant.changes if not is_blank(change)]
    for place in range(len(form.variants) - 1, VARIANTS_MIN - 1, -1):
        if variants_too and _is_untouched(form, place):
            del form.variants[place]
            _move_control(form, place)
    form.goals = [goal for goal in form.goals if (goal.name + goal.event_type + goal.event_name).strip()]


def without_blank_variants(form: ExperimentForm) -> ExperimentForm:
    """Give a copy of a form without the variants that were added and never filled in; goals keep their places."""
    copied = deepcopy(form)
    drop_blank_rows(copied)
    copied.goals = form.goals
    return copied


def is_blank(change: ChangeForm) -> bool:
    """Whether nothing was typed into a change."""
    return not (change.selector + change.property + change.value).strip()


def _is_untouched(form: ExperimentForm, place: int) -> bool:
    """Whether a variant is as it was added: with nothing but the weight of the one before."""
    variant, before = form.variants[place], form.variants[place - 1]
    is_named = bool(variant.id or variant.name.strip() or variant.changes or whole(form.control) == place)
    return not is_named and variant.weight.strip() in {"", before.weight.strip()}


def differences(form: ExperimentForm, stored: ExperimentForm) -> Iterator[tuple[str, str]]:
    """Yield (path, stored text) of each field where a form is not what is stored; rows by their place."""
    ours, theirs = dict(_flat(form)), dict(_flat(stored))
    for path in [*theirs, *(path for path in ours if path not in theirs)]:
        if ours.get(path) != theirs.get(path) and path != "version" and not path.endswith(".id"):
            yield path, theirs.get(path, "")


def _flat(row: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in structs.fields(row):
        value, path = getattr(row, field.name), f"{prefix}{field.encode_name}"
        if isinstance(value, str):
            yield path, value.strip()
            continue
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{place}].")


class _Numbers:
    """Reads numbers as people type them, and notes what is none."""

    def __init__(self, errors: list[FieldError]) -> None:
        self._errors = errors

    def read(self, path: str, text: str, otherwise: float, *, whole: bool = False) -> int | float:
        plain = without_commas(text)
        if not _NUMBER.fullmatch(plain) or (whole and "." in plain):
            example = "a whole number such as 720" if whole else "a number such as 50 or 33.3"
            self._errors.append(FieldError(path, f"must be {example}"))
            return otherwise
        return float(plain) if "." in plain else int(plain)


def _changes(errors: list[FieldError], path: str, rows: list[ChangeForm]) -> Iterator[VariantChange]:
    for place, change in enumerate(rows):
        yield VariantChange(
            selector=change.selector.strip(),
            change_type=_choice(errors, f"{path}[{place}].changeType", change.change_type, ChangeType),
            property=change.property.strip() or None,
            value=change.value,
        )


def _goals(errors: list[FieldError], rows: list[GoalForm]) -> Iterator[Goal]:
    for place, goal in enumerate(rows):
        yield Goal(
            name=goal.name.strip(),
            kind=_choice(errors, f"goals[{place}].kind", goal.kind, GoalKind),
            event_type=goal.event_type.strip(),
            event_name=goal.event_name.strip() or None,
            value_field=goal.value_field.strip() or None,
            role=_choice(errors, f"goals[{place}].role", goal.role, GoalRole),
        )


def _choice(errors: list[FieldError], path: str, text: str, kind: Any) -> Any:  # noqa: ANN401  (a Literal)
    choices = get_args(kind)
    if text in choices:
        return text
    errors.append(FieldError(path, f"must be one of {', '.join(choices)}"))
    return choices[0]


def _new_row(form: ExperimentForm, kind: str) -> ChangeForm | GoalForm | VariantForm:
    if kind == "change":
        return ChangeForm()
    if kind == "goal":
        return GoalForm(role="secondary" if form.goals else "primary")
    weight = form.variants[-1].weight if form.variants else "50"
    return VariantForm(weight=weight, changes=[ChangeForm()])


def _move_control(form: ExperimentForm, removed: int) -> None:
    control = whole(form.control)
    if control == removed:
        form.control = ""
    elif control is not None and control > removed:
        form.control = str(control - 1)


def _in_order(rows: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) > ROWS_MAX:
        raise Problem(413, "form_too_large", f"a form may hold {ROWS_MAX} rows of a kind at most")
    return [rows[place] for place in sorted(rows)]


def _variant_form(variant: Variant) -> VariantForm:
    changes = [
        ChangeForm(selector=c.selector, change_type=c.change_type, property=c.property or "", value=c.value)
        for c in variant.changes
    ]
    return VariantForm(id=str(variant.id), name=variant.name, weight=_shown(variant.weight), changes=changes)


def _shown(number: float) -> str:
    return f"{number:.15g}"
