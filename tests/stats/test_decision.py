import numpy as np
import pytest

from stats.advice import Judged, JudgedGoal, Pace, advise, advise_goal
from stats.arms import Arms
from stats.comparison import BETTER, INCONCLUSIVE, WORSE, compare_arms
from stats.decision import (
    ACTIONS,
    HARMED,
    SAFE,
    UNPROVEN,
    decide,
    guardrail_states,
    visitors_needed_share,
)
from stats.terms import Terms


def decided(primaries, guardrails, *, healthy=True, ended=False, lift=(0.1, 0.2)):
    """Decide one experiment of two variants."""
    found = decide(
        np.array(primaries, np.int8).reshape(-1, 2),
        np.array(lift),
        np.array(guardrails, np.int8).reshape(-1, 2),
        np.asarray(healthy),
        np.asarray(ended),
    )
    return ACTIONS[int(found.action)], int(found.variant)


@pytest.mark.parametrize(
    ("primaries", "guardrails", "expected"),
    [
        ([[BETTER, INCONCLUSIVE]], [], ("ship", 0)),
        ([[BETTER, BETTER]], [], ("ship", 1)),
        ([[BETTER, BETTER]], [[SAFE, UNPROVEN]], ("ship", 0)),
        ([[BETTER, INCONCLUSIVE]], [[UNPROVEN, SAFE]], ("keep_running", -1)),
        ([[BETTER, INCONCLUSIVE]], [[HARMED, SAFE]], ("keep_running", -1)),
        ([[BETTER, WORSE]], [[HARMED, SAFE]], ("do_not_ship", -1)),
        ([[BETTER, WORSE], [WORSE, INCONCLUSIVE]], [], ("do_not_ship", -1)),
        ([[WORSE, WORSE]], [[SAFE, SAFE]], ("do_not_ship", -1)),
        ([[INCONCLUSIVE, WORSE]], [], ("keep_running", -1)),
        ([], [], ("keep_running", -1)),
    ],
)
def test_a_variant_ships_when_a_primary_improves_and_no_guardrail_may_be_worse(primaries, guardrails, expected):
    """The best of those that may ship is chosen; harm to all ends it, anything else waits."""
    assert decided(primaries, guardrails) == expected


def test_an_unhealthy_split_comes_before_everything():
    """No verdict is acted on while the split of visitors is wrong."""
    assert decided([[BETTER, BETTER]], [], healthy=False) == ("unhealthy", -1)


def test_an_experiment_that_ended_undecided_does_not_ship():
    """There is nothing left to wait for; a winner still ships."""
    assert decided([[INCONCLUSIVE, INCONCLUSIVE]], [], ended=True) == ("do_not_ship", -1)
    assert decided([[BETTER, INCONCLUSIVE]], [], ended=True) == ("ship", 0)


def test_thousands_of_experiments_are_decided_as_each_alone():
    """Decisions of a batch are those of its experiments."""
    draw = np.random.default_rng(5)
    primaries = draw.integers(-1, 2, (500, 2, 2)).astype(np.int8)
    guardrails = draw.integers(-1, 2, (500, 1, 2)).astype(np.int8)
    lifts, healthy = draw.normal(size=(500, 2)), draw.random(500) < 0.9

    found = decide(primaries, lifts, guardrails, healthy, np.zeros(500, np.bool_))

    for i in range(500):
        alone = decided(primaries[i], guardrails[i], healthy=healthy[i], lift=lifts[i])
        assert (ACTIONS[found.action[i]], found.variant[i]) == alone


def rates(successes, n):
    """Tally one arm as arrays of one comparison."""
    return Arms.of_proportions(np.array([float(successes)]), np.array([float(n)]))


@pytest.mark.parametrize(
    ("treatment", "state"), [(10_000, SAFE), (8_000, HARMED), (9_500, UNPROVEN), (11_000, SAFE)]
)
def test_a_guardrail_is_safe_only_when_a_loss_beyond_its_margin_is_excluded(treatment, state):
    """10,000 of 100,000 against a margin of 5 %: not being significant is not being safe."""
    found = compare_arms(rates(10_000, 100_000), rates(treatment, 100_000), "conversion")

    assert guardrail_states(found, 0.05)[0] == state


def test_the_visitors_needed_make_the_difference_seen_a_verdict():
    """With as many times the visitors, at the same rates, the limits just exclude zero."""
    found = compare_arms(rates(1000, 10_000), rates(1100, 10_000), "conversion")

    share = float(visitors_needed_share(found)[0])
    n = round(10_000 * share)

    before, after = (
        compare_arms(rates(0.1 * m, m), rates(0.11 * m, m), "conversion").verdicts[0] for m in (0.98 * n, 1.02 * n)
    )
    assert (before, after) == (INCONCLUSIVE, BETTER)
    assert visitors_needed_share(compare_arms(rates(1000, 10_000), rates(1000, 10_000), "conversion"))[0] == np.inf


def judged(*verdicts, role="primary", name="buys", guardrail=UNPROVEN, needed=3.0):
    """Judge a goal with these verdicts for the variants A, B and so on."""
    variants = [Judged(chr(65 + i), verdict, guardrail, 0.1, needed) for i, verdict in enumerate(verdicts)]
    return JudgedGoal(name, role, 0.05, variants)


def test_a_decision_is_a_plain_sentence():
    """Ship, do not ship, keep running for so many days, and what is unhealthy."""
    goals = [judged("better"), judged("inconclusive", role="guardrail", name="speed", guardrail=SAFE)]

    ship = advise(0, 0, goals, Pace(days=4.0), [])
    wait = advise(2, -1, [judged("inconclusive")], Pace(days=4.0), [])
    stop = advise(1, -1, [judged("worse")], Pace(days=4.0), [])
    ended = advise(1, -1, [judged("inconclusive")], Pace(ended=True), [])
    sick = advise(3, -1, goals, Pace(), ["The split is wrong."])

    assert ship.sentence == "Ship “A”: it improves “buys”."
    assert ship.reasons == ["Guardrail “speed” does not fall by 5 %."]
    assert (wait.sentence, wait.days_left) == (
        "Keep running, for about 8 more days if the difference seen is real.", 8,
    )  # fmt: skip
    assert stop.sentence == "Do not ship: no variant improves without doing harm."
    assert stop.reasons == ["“buys” gets worse with “A”."]
    assert ended.sentence == "Do not ship: the experiment ended without an improvement shown."
    assert (sick.action, sick.reasons) == ("unhealthy", ["The split is wrong."])


def test_a_horizon_bounds_the_days_left():
    """Half of the planned visitors after four days: four more."""
    goal = judged("inconclusive", needed=float("inf"))

    assert advise(2, -1, [goal], Pace(days=4.0, info=0.5), []).days_left == 4
    assert advise(2, -1, [goal], Pace(days=4.0), []).days_left is None


def test_each_goal_has_its_own_advice():
    """A guardrail speaks of its margin, other goals of improvement."""
    guard = judged("inconclusive", role="guardrail", name="speed", guardrail=HARMED)

    assert advise_goal(guard, Pace()).sentence == "“speed” falls by more than 5 % with “A”."
    assert advise_goal(judged("better"), Pace()).action == "ship"
    assert advise_goal(judged("worse"), Pace()).action == "do_not_ship"
    assert advise_goal(judged("inconclusive"), Pace(ended=True)).action == "do_not_ship"


def test_group_sequential_verdicts_need_a_horizon_and_end_with_it():
    """Before the horizon the limits are narrower than always-valid ones; past it nothing is said."""
    arms = rates(1000, 10_000), rates(1120, 10_000)
    terms = Terms(regime="group_sequential")

    early, late = (compare_arms(*arms, "conversion", terms, info=info) for info in (0.9, 1.1))

    until, always = early.limits.group_sequential, early.limits.always_valid
    assert always.low[0] < until.low[0]
    assert early.verdicts[0] == BETTER
    assert late.verdicts[0] == INCONCLUSIVE
    with pytest.raises(ValueError, match="horizon"):
        compare_arms(*arms, "conversion", terms)
