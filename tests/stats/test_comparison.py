import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from stats import single
from stats.arms import Arms
from stats.comparison import compare_arms, compare_moments
from stats.moments import of_means
from stats.single import Comparison, Interval, NotEnoughData
from stats.strata import of_epochs
from stats.tally import Tally
from stats.terms import DEFAULT_TERMS, Terms


def compare(control, treatment, *, kind, method="always_valid", **terms):
    """Compare under the terms that a test states."""
    return single.compare(control, treatment, kind=kind, terms=Terms(regime=method, **terms))


def rate(successes, n):
    """Tally an arm of a conversion goal."""
    return Tally.of_proportion(successes, n)


@st.composite
def rates(draw):
    """Draw an arm of 0 to 1e12 visitors, often with nobody or everybody converting."""
    n = int(10 ** draw(st.floats(0, 12))) - draw(st.booleans())
    few = draw(st.integers(0, min(n, 30)))
    return rate(draw(st.sampled_from([few, n - few, int(n * draw(st.floats(0, 1)))])), n)


@st.composite
def amounts(draw, *, never_negative=False):
    """Draw an arm of 0 to 1e12 visitors around an offset of up to 1e9, some without any variance."""
    n = float(int(10 ** draw(st.floats(0, 12))) - draw(st.booleans()))
    mean = draw(st.sampled_from([0.0, 1.0, 1e6, 1e9, -5.0])) + draw(st.floats(-10, 10))
    mean = abs(mean) if never_negative else mean
    return Tally(n, mean * n, draw(st.sampled_from([0.0, 1e-6, 1.0, 1e6])) * max(n - 1.0, 0.0))


def excludes_zero(interval):
    """Say whether all of an interval lies on one side of 0."""
    low, high = interval.low, interval.high
    return (low is not None and low > 0) or (high is not None and high < 0)


def holds_its_promises(result, alpha):
    """Check what is true of every comparison: coherence, finite numbers, estimates inside intervals."""
    numbers = [x for x in msgspec.json.decode(msgspec.json.encode(result)).values() if isinstance(x, float)]
    assert all(math.isfinite(x) for x in numbers)
    assert 0 < result.p_value <= 1
    views = [(result.absolute, result.relative, result.p_value)]
    if not isinstance(result.always_valid, NotEnoughData):
        valid = result.always_valid
        whole = Interval(result.absolute.estimate, valid.low, valid.high)
        views.append((whole, valid.relative, valid.p_value))
    for absolute, relative, p in views:
        assert absolute.low <= absolute.estimate <= absolute.high
        on_the_border = abs(p / alpha - 1) < 1e-5
        assert on_the_border or excludes_zero(absolute) == (p < alpha)
        if not isinstance(relative, NotEnoughData):
            assert relative.low is None or relative.low <= relative.estimate + 1e-12 * (1 + abs(relative.estimate))
            assert relative.high is None or relative.high >= relative.estimate - 1e-12 * (
                1 + abs(relative.estimate)
            )
            assert on_the_border or excludes_zero(absolute) == excludes_zero(relative)


@given(rates(), rates(), st.sampled_from([0.001, 0.05, 0.3]), st.sampled_from([200.0, 5e3, 1e7]))
def test_two_rates_never_contradict_themselves(control, treatment, alpha, planned_n):
    """Absolute, relative and p-value agree for both regimes, from 0 to 1e12 visitors."""
    result = compare(control, treatment, kind="conversion", alpha=alpha, planned_n=planned_n)

    if isinstance(result, Comparison):
        holds_its_promises(result, alpha)
    else:
        empty = min(control.n, treatment.n) == 0
        assert empty or control.sum + treatment.sum in {0, control.n + treatment.n}


@given(amounts(), amounts(), st.sampled_from([0.001, 0.05, 0.3]), st.sampled_from([200.0, 5e3, 1e9]))
def test_two_values_never_contradict_themselves(control, treatment, alpha, planned_n):
    """Absolute, relative and p-value agree for both regimes, at any offset and sign of the mean."""
    result = compare(control, treatment, kind="value", alpha=alpha, planned_n=planned_n)

    if isinstance(result, Comparison):
        holds_its_promises(result, alpha)
        # A mean within 1e-290 of 0 may lie beyond the range of a float from the other.
        if not 0 < control.mean < 1e-290:
            assert isinstance(result.relative, NotEnoughData) == (control.mean <= 0)
    else:
        assert min(control.n, treatment.n) < 2 or control.m2 + treatment.m2 == 0


@given(amounts(never_negative=True), amounts(never_negative=True))
def test_counts_cannot_fall_by_more_than_all(control, treatment):
    """The relative lift of a count has a lower limit, -1 at the least."""
    result = compare(control, treatment, kind="count")

    if isinstance(result, Comparison) and not isinstance(result.relative, NotEnoughData):
        assert result.relative.low >= -1


@given(rates(), rates())
def test_swapped_rates_flip_the_sign(control, treatment):
    """Exchanging the arms mirrors estimate, limits and verdict, and keeps the p-value."""
    one = compare(control, treatment, kind="conversion", method="fixed")
    other = compare(treatment, control, kind="conversion", method="fixed")

    assert isinstance(one, Comparison) == isinstance(other, Comparison)
    if isinstance(one, Comparison):
        assert other.absolute.estimate == -one.absolute.estimate
        assert other.absolute.low == pytest.approx(-one.absolute.high, rel=1e-9, abs=1e-15)
        assert other.p_value == pytest.approx(one.p_value, rel=1e-6)
        mirrored = {"better": "worse", "worse": "better", "inconclusive": "inconclusive"}
        on_the_border = abs(one.p_value / 0.05 - 1) < 1e-5
        assert on_the_border or other.verdict == mirrored[one.verdict]


@given(amounts(), amounts())
def test_swapped_values_flip_the_sign(control, treatment):
    """Exchanging the arms mirrors estimate and limits of means too."""
    one = compare(control, treatment, kind="value")
    other = compare(treatment, control, kind="value")

    assert isinstance(one, Comparison) == isinstance(other, Comparison)
    if isinstance(one, Comparison):
        assert other.absolute.estimate == -one.absolute.estimate
        assert other.absolute.low == pytest.approx(-one.absolute.high, rel=1e-12)


def test_the_house_example_is_better_only_at_a_single_look():
    """1000 / 10000 against 1100 / 10000: better by the fixed interval, inconclusive by the always-valid one.

    Limits from the reference vector house_mn_rd; the ratio is Koopman's with N / (N - 1).
    """
    arms = rate(1000, 10_000), rate(1100, 10_000)

    once, always = (compare(*arms, kind="conversion", method=method) for method in ("fixed", "always_valid"))

    assert (once.verdict, always.verdict) == ("better", "inconclusive")
    assert once.absolute.low == pytest.approx(0.001503701308236168, rel=1e-9)
    assert once.absolute.high == pytest.approx(0.01850518674087385, rel=1e-9)
    assert once.relative.low == pytest.approx(0.014417, abs=2e-5)
    assert once.relative.high == pytest.approx(0.192827, abs=2e-5)
    assert once.relative.estimate == pytest.approx(0.1)
    assert once.p_value == pytest.approx(2 * special.ndtr(-2.30663477381701 * math.sqrt(19999 / 20000)), rel=1e-9)
    assert always.always_valid.p_value == pytest.approx(0.4337202134257064, rel=2e-3)
    assert once.regime == "fixed"
    assert always.reason == "The always-valid 95 % interval of the difference contains zero."


def test_welch_is_that_of_growthbook():
    """Revenue of 3407 against 3461 visitors: .29 (.04538, .53462), p = .02016 (growthbook's own test)."""
    control = Tally(3407.0, 1396.87, 52377.9767 - 1396.87**2 / 3407)
    treatment = Tally(3461.0, 2422.7, 134698.29 - 2422.7**2 / 3461)

    result = compare(control, treatment, kind="value", method="fixed")

    assert result.absolute.estimate == pytest.approx(0.29, abs=1e-5)
    assert (result.absolute.low, result.absolute.high) == pytest.approx(
        (0.0453778925593, 0.534622107441), rel=1e-9
    )
    assert result.p_value == pytest.approx(0.0201584026436, rel=1e-9)
    assert result.verdict == "better"


def test_a_control_without_conversions_gets_an_exact_test_and_no_lift():
    """0 / 1000 against 5 / 1000: mid-P is 2 (1/32 / 2), nearly; the difference is Miettinen & Nurminen's."""
    result = compare(rate(0, 1000), rate(5, 1000), kind="conversion", method="fixed")

    assert result.p_value == pytest.approx(0.0310938, rel=1e-5)
    assert (result.absolute.low, result.absolute.high) == pytest.approx(
        (0.001161768414379435, 0.01165327241087281), rel=1e-8
    )
    assert result.verdict == "better"
    assert isinstance(result.relative, NotEnoughData)
    assert isinstance(result.always_valid, NotEnoughData)


def test_an_exact_test_that_disagrees_with_the_score_moves_the_limits():
    """1 of 1000 against 0 of 19000: the score says z = 4.4, the exact test p = .05; the limits follow it."""
    result = compare(rate(0, 19_000), rate(1, 1000), kind="conversion", method="fixed", alpha=0.049)

    assert result.p_value == pytest.approx(0.05, rel=1e-6)
    assert result.absolute.low <= 0
    assert result.verdict == "inconclusive"


def test_a_total_loss_is_called_worse_by_the_always_valid_interval():
    """0 of 10000 against 500 of 10000 does not wait for conversions that never come."""
    result = compare(rate(500, 10_000), rate(0, 10_000), kind="conversion")

    assert result.verdict == "worse"
    assert result.relative == Interval(-1.0, -1.0, result.relative.high)
    assert result.relative.high < -0.9


def test_before_burn_in_there_is_a_reason_and_no_verdict():
    """Three conversions of 200 are too few for an always-valid verdict, and the sentence says so."""
    result = compare(rate(1, 100), rate(2, 100), kind="conversion")

    assert result.verdict == "inconclusive"
    assert result.reason == result.always_valid.reason
    assert "1.5 conversions" in result.reason


def test_a_huge_plan_gives_no_interval_to_a_few_visitors_of_values():
    """Planned for 1e9 visitors, 200 say nothing yet, and that is not an infinite number."""
    arm = Tally(100.0, 500.0, 99.0)

    result = compare(arm, Tally(100.0, 600.0, 99.0), kind="value", planned_n=1e9)

    assert isinstance(result.always_valid, NotEnoughData)
    assert result.verdict == "inconclusive"


def test_an_overwhelming_difference_has_a_p_value_above_zero():
    """A z in the thousands is a p-value of 2.2e-308 and not 0."""
    result = compare(rate(10**11, 10**12), rate(2 * 10**11, 10**12), kind="conversion")

    assert 0 < result.p_value < 1e-300
    assert 0 < result.always_valid.p_value < 1e-300
    assert result.bayes.chance_to_beat == pytest.approx(1.0)
    assert result.verdict == "better"


@pytest.mark.parametrize(
    ("control", "treatment", "kind", "word"),
    [
        (rate(0, 0), rate(1, 5), "conversion", "few visitors"),
        (rate(0, 7), rate(0, 9), "conversion", "Nobody"),
        (rate(7, 7), rate(9, 9), "conversion", "Everybody"),
        (rate(8, 7), rate(1, 9), "conversion", "no rate"),
        (Tally(1.0, 5.0, 0.0), Tally(9.0, 5.0, 1.0), "value", "few visitors"),
        (Tally(5.0, 5.0, 0.0), Tally(9.0, 18.0, 0.0), "count", "same value"),
        (Tally(5.0, math.nan, 0.0), Tally(9.0, 18.0, 0.0), "count", "beyond"),
        (Tally(1e17, 1e16, 0.0), Tally(9.0, 2.0, 0.0), "conversion", "beyond"),
    ],
)
def test_what_cannot_be_computed_says_why(control, treatment, kind, word):
    """A comparison that does not exist is a reason in words."""
    result = compare(control, treatment, kind=kind)

    assert isinstance(result, NotEnoughData)
    assert word in result.reason


@pytest.mark.parametrize(
    "change", [{"alpha": 0.0}, {"alpha": 1e-300}, {"alpha": 1.0}, {"planned_n": 0.0}, {"prior_log_ratio_sd": 0.0}]
)
def test_levels_and_plans_that_mean_nothing_are_refused(change):
    """Alpha outside (0, 1), or a plan or prior that is not positive, raises."""
    with pytest.raises(ValueError, match="no test has"):
        compare(rate(1, 5), rate(2, 5), kind="conversion", **change)


def test_the_posterior_is_that_of_the_log_ratio_under_its_prior():
    """1000 / 10000 against 1100 / 10000 under N(0, .05^2): normal-normal by hand, as both rates are known well."""
    result = compare(rate(1000, 10_000), rate(1100, 10_000), kind="conversion")

    variance = 0.9 / 1000 + 0.89 / 1100
    precision = 1 / variance + 1 / 0.05**2
    mean = math.log(1.1) / variance / precision
    assert result.bayes.chance_to_beat == pytest.approx(special.ndtr(mean * math.sqrt(precision)), abs=2e-4)


@pytest.mark.parametrize("prior_sd", [0.05, 0.5])
@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        ((120, 1000), (0, 1000)),
        ((120, 1000), (6, 1000)),
        ((30, 610), (0, 430)),
        ((3, 1000), (0, 1000)),
        ((0, 1000), (12, 1000)),
        ((30, 1000), (50, 1000)),
        ((500, 5000), (60, 500)),
        ((900, 1000), (950, 1000)),
    ],
)
def test_a_chance_to_beat_is_that_of_the_binomial_likelihood_however_few_convert(control, treatment, prior_sd):
    """Within two points (four under a wide prior) of the chance by quadrature over both rates."""
    result = compare(rate(*control), rate(*treatment), kind="conversion", prior_log_ratio_sd=prior_sd)

    ratio = np.linspace(-6 * prior_sd, 6 * prior_sd, 1201)
    logit = np.linspace(-12.0, 8.0, 2000)
    p0 = special.expit(logit)
    p1 = np.minimum(np.exp(ratio)[:, None] * p0, 1 - 1e-12)
    log_likelihood = (
        special.xlogy(control[0], p0)
        + special.xlog1py(control[1] - control[0], -p0)
        + special.xlogy(treatment[0], p1)
        + special.xlog1py(treatment[1] - treatment[0], -p1)
        + 0.5 * np.log(p0 * (1 - p0))
    )
    weight = np.exp(log_likelihood - log_likelihood.max()).sum(axis=1) * np.exp(-0.5 * (ratio / prior_sd) ** 2)
    chance = weight[ratio > 0].sum() / weight.sum()
    assert result.bayes.chance_to_beat == pytest.approx(chance, abs=0.02 if prior_sd < 0.1 else 0.04)


@pytest.mark.parametrize(("control", "treatment", "least", "most"), [
    ((970, 1000), (20, 30), 0.0, 0.01),
    ((800, 1000), (20, 40), 0.0, 0.04),
    ((1000, 1000), (990, 1000), 0.0, 0.01),
    ((10, 10), (7, 10), 0.2, 0.35),
])  # fmt: skip
def test_a_rate_near_one_is_no_better_known_than_its_likelihood_says(control, treatment, least, most):
    """Nobody is left who could convert: a normal law about the ratio had chances of a tenth and more here."""
    assert least <= compare(rate(*control), rate(*treatment), kind="conversion").bayes.chance_to_beat <= most


@pytest.mark.parametrize(("control", "treatment", "within"), [
    ((990, 1000), (993, 1000), 0.005),
    ((39_600, 40_000), (39_650, 40_000), 0.005),
    ((9_990, 10_000), (9_998, 10_000), 0.005),
    ((995, 1000), (999, 1000), 0.005),
    ((990, 1000), (97, 100), 0.03),
    ((4_950, 5_000), (497, 500), 0.07),
    ((836, 850), (147, 148), 0.08),
    ((9_999, 10_000), (10_000, 10_000), 0.04),
])  # fmt: skip
def test_a_chance_to_beat_near_rates_of_one_is_that_of_the_few_who_do_not_convert(control, treatment, within):
    """Against quadrature over both rates, each with Jeffreys's prior: a normal law was off by up to 19 points."""
    result = compare(rate(*control), rate(*treatment), kind="conversion")

    steps = (np.arange(4_000) + 0.5) / 4_000
    p0, p1 = (special.betaincinv(s + 0.5, n - s + 0.5, steps) for s, n in (control, treatment))
    ratio = np.log(p1) - np.log(p0)[:, None]
    weight = np.exp(-0.5 * (ratio / DEFAULT_TERMS.prior_log_ratio_sd) ** 2)
    chance = weight[ratio > 0].sum() / weight.sum()
    loss = (weight * np.maximum(-ratio, 0)).sum() / weight.sum()
    assert result.bayes.chance_to_beat == pytest.approx(chance, abs=within)
    assert result.bayes.expected_loss == pytest.approx(loss, rel=0.6, abs=1e-6)


def test_chances_near_rates_of_one_are_the_same_for_one_and_for_many_and_go_over_into_those_farther_off():
    """More are integrated than at once; those with more left out than that takes are not, and differ little."""
    left = np.arange(1.0, 801.0)
    control = Arms.of_proportions(np.full((800, 1), 9_600.0), 10_000.0)
    treatment = Arms.of_proportions(10_000.0 - left[:, None], 10_000.0)

    chances = compare_arms(control, treatment, "conversion").bayes[0][:, 0]

    for at in (0, 255, 256, 398, 399, 799):
        alone = compare(rate(9_600, 10_000), rate(10_000 - int(left[at]), 10_000), kind="conversion")
        assert alone.bayes.chance_to_beat == pytest.approx(chances[at], abs=1e-9)
    assert (np.diff(chances) <= 1e-9).all()
    assert np.abs(np.diff(chances)).max() < 0.03


@pytest.mark.parametrize(("control", "treatment"), [
    *(((132, 1100), (converters, 900)) for converters in (0, 1, 2, 10, 100)),
    ((100, 9000), (30, 1000)), ((12, 1000), (600, 100_000)), ((600, 100_000), (20, 1000)),
])  # fmt: skip
def test_a_chance_to_beat_over_two_epochs_that_are_alike_is_that_over_one(control, treatment):
    """Half of the visitors and of the converters in each; also where few convert, or an arm is far smaller."""
    halves = [
        Arms.of_proportions(np.full((2, 1, 1), each / 2), np.full((2, 1, 1), n / 2))
        for each, n in (control, treatment)
    ]
    whole = [Arms.of_proportions(each.sum.sum(axis=0), each.n.sum(axis=0)) for each in halves]
    over_two = compare_moments(of_epochs(*halves, proportions=True), *whole, "conversion")
    over_one = compare_arms(*whole, "conversion")
    assert over_two.bayes[0] == pytest.approx(over_one.bayes[0], rel=0.1)


def test_each_of_many_comparisons_has_its_own_chance_to_beat():
    """One whose means move together changes none beside it."""
    arms = [Arms.of_proportions(np.full((2, 1), sum_), np.full((2, 1), 1000.0)) for sum_ in (120.0, 6.0)]
    moments = of_means(*arms)
    together = msgspec.structs.replace(moments, covariance=np.array([[0.0], [1e-9]]))
    alone, beside = (compare_moments(each, *arms, "value").bayes[0] for each in (moments, together))
    assert beside[0] == alone[0]
    assert beside[1] != alone[1]


def test_an_arm_that_nobody_paid_in_has_a_chance_to_beat_too():
    """It is as sure as that of one with a single order."""
    result = compare(Tally(1000, 1200.0, 10_560.0), Tally(1000, 0.0, 0.0), kind="value")
    assert result.bayes.chance_to_beat < 0.01


def test_who_beats_whom_is_the_same_from_either_side():
    """Arms exchanged, the chances add up to one, for rates as for means."""
    for kind, arms in (
        ("conversion", (rate(120, 1000), rate(2, 900))),
        ("conversion", (rate(990, 1000), rate(430, 450))),
        ("value", (Tally(1000, 1200.0, 9000.0), Tally(900, 30.0, 800.0))),
    ):
        chances = [compare(*pair, kind=kind).bayes.chance_to_beat for pair in (arms, arms[::-1])]
        assert sum(chances) == pytest.approx(1.0)
        assert chances[0] < 0.1


def test_revenue_that_nearly_stops_is_not_taken_for_revenue_that_nobody_knows():
    """One order of 10 beside 120 of them: they say little of its spread, but that they are few."""
    result = compare(Tally(1000, 1200.0, 10_560.0), Tally(1000, 10.0, 99.9), kind="value")

    assert result.verdict == "worse"
    assert result.bayes.chance_to_beat < 0.01


def test_the_same_tallies_give_the_same_bytes():
    """A comparison is a pure function, down to the bits of its encoding."""
    arms = rate(137, 1013), rate(171, 997)

    assert msgspec.json.encode(compare(*arms, kind="conversion")) == msgspec.json.encode(
        compare(*arms, kind="conversion")
    )


def test_numbers_are_plain_floats():
    """No numpy scalar leaves the package: msgspec encodes every comparison."""
    result = compare(rate(137, 1013), rate(171, 997), kind="conversion")

    assert not any(isinstance(x, np.generic) for x in (result.p_value, result.absolute.low, result.bayes))
    assert msgspec.json.encode(result)
