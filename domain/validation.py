"""What a valid experiment is; all that is wrong with one is found at once."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from domain.plan import Experiment, Goal, Variant, VariantChange
from domain.refusals import FieldError

VARIANTS_MIN = 2
VARIANTS_MAX = 20
WEIGHT_MAX = 1_000_000
CHANGES_MAX = 50
GOALS_MAX = 50
NAME_CHARS_MAX = 200
EVENT_TYPE_CHARS_MAX = 100
SELECTOR_CHARS_MAX = 1_000
VALUE_CHARS_MAX = 20_000
PROPERTY_CHARS_MAX = 100
HYPOTHESIS_CHARS_MAX = 5_000
TARGET_URL_CHARS_MAX = 2_048
WINDOW_HOURS_MAX = 2_160
TRAFFIC_PERCENTAGE_MAX = 100
# A name with one of these shows the text behind it in another order than it has (Unicode TR 9).
TURNS_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
NO_TURNING = "must not hold characters that turn the direction of text (U+202A to U+202E, U+2066 to U+2069)"

_PROPERTY = re.compile(r"-{0,2}[a-z][a-z-]*")
# What ran or loaded something in browsers of some time, and what ends the element around a sheet.
_CSS_REFUSED = re.compile(
    r"@import|expression\s*\(|-moz-binding|(?<![-\w])behavior\s*:|javascript:|</", re.IGNORECASE
)
# A sheet that looks at attributes and loads by what it finds tells others what visitors type.
_CSS_LOADS = re.compile(r"url\s*\(|image-set|src\s*\(", re.IGNORECASE)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))")
# PostgreSQL's jsonb stores no NUL, UTF-8 has no lone surrogate.
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


def problems(experiment: Experiment) -> list[FieldError]:
    """Find everything that is wrong with an experiment, by its path in the JSON body.

    That a selector parses is for the caller, who has a CSS parser: see `domain.plan.selectors`.
    """
    return [
        *_problems_of_details(experiment),
        *_problems_of_variants(experiment.variants),
        *_problems_of_goals(experiment.goals),
    ]


def _problems_of_details(experiment: Experiment) -> Iterator[FieldError]:
    yield from _name("name", experiment.name, NAME_CHARS_MAX)
    yield from _text("hypothesis", experiment.hypothesis, HYPOTHESIS_CHARS_MAX, needed=False)
    target_needed = experiment.url_match_type != "all"
    yield from _text("targetUrl", experiment.target_url, TARGET_URL_CHARS_MAX, needed=target_needed)
    # Written so that NaN, which compares false with everything, is refused; so are the ranges below.
    if not 0 <= experiment.traffic_percentage <= TRAFFIC_PERCENTAGE_MAX:
        yield FieldError("trafficPercentage", f"must be from 0 to {TRAFFIC_PERCENTAGE_MAX}")
    if not 1 <= experiment.attribution_window_hours <= WINDOW_HOURS_MAX:
        yield FieldError("attributionWindowHours", f"must be from 1 to {WINDOW_HOURS_MAX} hours")


def _problems_of_variants(variants: Sequence[Variant]) -> Iterator[FieldError]:
    if not VARIANTS_MIN <= len(variants) <= VARIANTS_MAX:
        yield FieldError("variants", f"must be from {VARIANTS_MIN} to {VARIANTS_MAX}, not {len(variants)}")
    controls = sum(variant.is_control for variant in variants)
    if controls != 1:
        yield FieldError("variants", f"must have exactly one control, not {controls}")
    yield from _repeated("variants", "name", [variant.name for variant in variants[:VARIANTS_MAX]])
    for position, variant in enumerate(variants[:VARIANTS_MAX]):
        path = f"variants[{position}]"
        yield from _name(f"{path}.name", variant.name, NAME_CHARS_MAX)
        if not 0 < variant.weight <= WEIGHT_MAX:
            yield FieldError(f"{path}.weight", f"must be above 0 and at most {WEIGHT_MAX}")
        if len(variant.changes) > CHANGES_MAX:
            yield FieldError(f"{path}.changes", f"must be at most {CHANGES_MAX}, not {len(variant.changes)}")
        for number, change in enumerate(variant.changes[:CHANGES_MAX]):
            yield from _problems_of_change(f"{path}.changes[{number}]", change)


def _problems_of_change(path: str, change: VariantChange) -> Iterator[FieldError]:
    yield from _text(f"{path}.selector", change.selector, SELECTOR_CHARS_MAX)
    yield from _text(f"{path}.value", change.value, VALUE_CHARS_MAX, needed=False)
    styled = change.change_type == "style"
    wrong = list(_text(f"{path}.property", change.property, PROPERTY_CHARS_MAX, needed=styled))
    if styled and not wrong and not _PROPERTY.fullmatch(change.property or ""):
        wrong.append(FieldError(f"{path}.property", "must be a CSS property such as background-color"))
    yield from wrong
    if styled or change.change_type == "css":
        yield from _problems_of_css(f"{path}.value", change.selector, change.value)


def _problems_of_css(path: str, selector: str, value: str) -> Iterator[FieldError]:
    # Names may be spelled with escapes; a bracket that is escaped selects nothing.
    spelled = _CSS_ESCAPE.sub(lambda found: chr(int(found[1], 16) % 0x110000) if found[1] else found[2], value)
    if _CSS_REFUSED.search(spelled):
        yield FieldError(path, "must not hold @import, expression(), behavior:, -moz-binding, javascript: or </")
    elif _CSS_LOADS.search(spelled) and "[" in selector + value:
        yield FieldError(path, "must not load an address for elements that are chosen by an attribute")


def _problems_of_goals(goals: Sequence[Goal]) -> Iterator[FieldError]:
    if len(goals) > GOALS_MAX:
        yield FieldError("goals", f"must be at most {GOALS_MAX}, not {len(goals)}")
    if not any(goal.role == "primary" for goal in goals):
        yield FieldError("goals", "must have at least one with the role primary")
    yield from _repeated("goals", "name", [goal.name for goal in goals[:GOALS_MAX]])
    for position, goal in enumerate(goals[:GOALS_MAX]):
        path = f"goals[{position}]"
        yield from _name(f"{path}.name", goal.name, NAME_CHARS_MAX)
        yield from _text(f"{path}.eventType", goal.event_type, EVENT_TYPE_CHARS_MAX)
        yield from _text(f"{path}.eventName", goal.event_name, NAME_CHARS_MAX, needed=False)
        yield from _text(f"{path}.valueField", goal.value_field, NAME_CHARS_MAX, needed=goal.kind == "value")


def _text(path: str, text: str | None, chars_max: int, *, needed: bool = True) -> Iterator[FieldError]:
    if needed and not (text and text.strip()):
        yield FieldError(path, "must not be empty")
    if text and len(text) > chars_max:
        yield FieldError(path, f"must be at most {chars_max} characters, not {len(text)}")
    if text and _NOT_STORABLE.search(text):
        yield FieldError(path, "must not hold a NUL character or half of a surrogate pair")


def _name(path: str, text: str, chars_max: int) -> Iterator[FieldError]:
    yield from _text(path, text, chars_max)
    if TURNS_DIRECTION.search(text):
        yield FieldError(path, NO_TURNING)


def _repeated(path: str, field: str, values: Sequence[str]) -> Iterator[FieldError]:
    seen: Counter[str] = Counter()
    for position, value in enumerate(values):
        seen[value] += 1
        if seen[value] > 1:
            yield FieldError(f"{path}[{position}].{field}", "must differ from those before it")
