"""The same visitor gets the same variant everywhere: hash, ranges, stickiness, and which pages take part."""

import json
import math
import os
from collections import Counter
from pathlib import Path
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from domain.assignment import (
    assign,
    bucket_ranges,
    choose_variation,
    equal_weights,
    hash_of_version,
    hash_v1,
    hash_v2,
    in_namespace,
    matches_url,
    query_string_override,
)

EXPERIMENT = "0193c1a2-7b1e-7c52-9f3e-2f7d1e6a4b10"
VISITOR = "5f0c2a9e-8d41-4f7b-b1a6-3f2c9d7e6a01"
URL_CASES = json.loads((Path(__file__).parent / "url_cases.json").read_text(encoding="utf-8"))
WEIGHTS = st.lists(st.integers(1, 10**6) | st.floats(1e-6, 1e6), min_size=2, max_size=20)
# Half a surrogate pair too: a browser hashes it without complaint.
TEXTS = st.text(st.characters() | st.characters(categories=["Cs"]))
PERCENTAGES = st.integers(0, 100) | st.floats(0, 100)


@pytest.mark.parametrize(
    ("seed", "value", "expected"),
    [
        ("", "", 0.2305),
        ("prooflog", "visitor-1", 0.4286),
        ("prooflog", "visitor-2", 0.3137),
        (EXPERIMENT, VISITOR, 0.7801),
        (EXPERIMENT[:-1] + "1", VISITOR, 0.9873),
        ("seed", "josé@example.com", 0.8504),
        ("seed", "訪問者", 0.658),
        ("seed", "🦉", 0.2357),
        ("seed", "\ud83e", 0.2973),
        ("seed", "a" * 256, 0.5919),
    ],
)
def test_the_hash_is_what_a_browser_computes(seed, value, expected):
    """Computed by a JavaScript implementation with charCodeAt and Math.imul, run in Node.js 20."""
    assert hash_v2(seed, value) == expected


def test_the_hash_for_namespaces_is_the_older_one():
    """Computed likewise; a version that does not exist has no hash."""
    assert hash_v1("__checkout", "visitor-1") == 0.497
    assert hash_v1("__checkout", "visitor-2") == 0.652
    assert in_namespace("visitor-1", ("checkout", 0.4, 0.6))
    assert not in_namespace("visitor-2", ("checkout", 0.4, 0.6))
    assert in_namespace("visitor-1", ("checkout", 0.497, 1))
    assert not in_namespace("visitor-1", ("checkout", 0, 0.497))
    assert [hash_of_version("", "a", version) for version in (1, 2, 3)] == [0.22, hash_v2("", "a"), None]


def test_ranges_fill_from_their_start():
    """Coverage shortens each range at its end, so that those inside stay inside."""
    assert bucket_ranges(2, 0.5) == [(0, 0.25), (0.5, 0.75)]
    assert bucket_ranges(2, 1, [0.25, 0.75]) == [(0, 0.25), (0.25, 1)]
    assert [bucket_ranges(2, 1, weights) for weights in ([1], [0.5, 0.6], [0.4, 0.5])] == [
        [(0, 0.5), (0.5, 1)]
    ] * 3
    assert bucket_ranges(2, 1, [0.5, 0.49]) == [(0, 0.5), (0.5, 0.99)]
    assert bucket_ranges(2, 1, [0.5, 0.51]) == [(0, 0.5), (0.5, 1.01)]
    assert [choose_variation(n, [(0, 0.25), (0.5, 0.75)]) for n in (0, 0.25, 0.5, 0.75)] == [0, -1, 1, -1]


def test_an_override_is_read_as_a_browser_reads_it():
    """The first such key counts, up to where its digits end."""
    assert query_string_override("key", "https://shop.example/?a=b&key=1abc&key=0", 2) == 1
    assert query_string_override("key", "https://shop.example/?key=0#key=1", 2) == 0
    assert query_string_override("key", "https://shop.example/?a=b#&key=1", 2) is None
    assert query_string_override("key", "https://shop.example/?a=b?c&key=1", 2) is None
    for value in ("2", "-1", "9" * 5_000, "one", ""):
        assert query_string_override("key", f"https://shop.example/?key={value}", 2) is None


def public_vectors():
    """Read GrowthBook's public cases as (function, case), or a skipped one when there is no file."""
    path = os.environ.get("PROOFLOG_GROWTHBOOK_VECTORS")
    if not path:
        reason = "PROOFLOG_GROWTHBOOK_VECTORS names no file with GrowthBook's public vectors"
        return [pytest.param("none", [], marks=pytest.mark.skip(reason=reason))]
    groups = json.loads(Path(path).read_text(encoding="utf-8"))
    return [(name, case) for name, cases in groups.items() if isinstance(cases, list) for case in cases]


PUBLIC = {
    "hash": hash_of_version,
    "getBucketRange": lambda _, case: bucket_ranges(*case),
    "chooseVariation": lambda _, n, ranges: choose_variation(n, ranges),
    "getEqualWeights": equal_weights,
    "getQueryStringOverride": lambda _, key, url, n: query_string_override(key, url, n),
    "inNamespace": lambda _, value, namespace: in_namespace(value, namespace),
}


@pytest.mark.parametrize(("function", "case"), public_vectors())
def test_public_vectors_hold(function, case):
    """Every case of the public file, with its fractions to the 8 digits it has."""
    *arguments, expected = case
    actual = PUBLIC[function](*arguments)
    if function in {"getBucketRange", "getEqualWeights"}:
        assert flat(actual) == pytest.approx(flat(expected), abs=1e-8)
    else:
        assert actual == expected


def flat(nested):
    """Lay pairs out in a row."""
    return [number for each in nested for number in (each if isinstance(each, (list, tuple)) else [each])]


@pytest.mark.parametrize(
    ("weights", "percentage"),
    [((50, 50), 100), ((1, 1, 1), 100), ((90, 10), 100), ((0.2, 0.3, 0.5), 40), ((1,) * 20, 73)],
)
def test_visitors_are_shared_out_by_weight(weights, percentage):
    """20,000 visitors fall as a chi-square test allows at 1 in 10,000 (repeatable: the ids are fixed)."""
    count = 20_000
    # Multiples of an odd number modulo 2^128 differ, and look like the random ids that browsers make.
    odd = 0x9E3779B97F4A7C15F39CC0605CEDC835
    visitors = [str(UUID(int=number * odd % 2**128)) for number in range(count)]
    seen = Counter(
        assign(experiment_id=EXPERIMENT, visitor_id=visitor, weights=weights, traffic_percentage=percentage)
        for visitor in visitors
    )
    expected = {index: count * percentage / 100 * w / sum(weights) for index, w in enumerate(weights)}
    if percentage < 100:
        expected[None] = count * (1 - percentage / 100)
    statistic = sum((seen[key] - mean) ** 2 / mean for key, mean in expected.items())
    degrees = len(expected) - 1
    # Wilson and Hilferty's approximation of the quantile at z = 3.72.
    limit = degrees * (1 - 2 / (9 * degrees) + 3.72 * math.sqrt(2 / (9 * degrees))) ** 3
    assert set(seen) == set(expected)
    assert statistic < limit


def test_experiments_do_not_share_their_luck():
    """A visitor's variant in one experiment says nothing about another: a quarter falls into each pair."""
    pairs = Counter(
        tuple(
            assign(experiment_id=experiment, visitor_id=str(number), weights=(1, 1), traffic_percentage=100)
            for experiment in (EXPERIMENT, EXPERIMENT[:-1] + "1")
        )
        for number in range(20_000)
    )
    assert [pairs[pair] for pair in ((0, 0), (0, 1), (1, 0), (1, 1))] == pytest.approx([5_000] * 4, abs=250)


@hypothesis.given(TEXTS, WEIGHTS, PERCENTAGES, PERCENTAGES)
def test_raising_the_traffic_moves_nobody_who_takes_part(visitor, weights, one, other):
    """A visitor once in keeps the variant, and a visitor who is out comes in nowhere on the way down."""
    lower, higher = (
        assign(experiment_id=EXPERIMENT, visitor_id=visitor, weights=weights, traffic_percentage=percentage)
        for percentage in sorted([one, other])
    )
    assert lower in {None, higher}


@hypothesis.given(TEXTS, WEIGHTS)
def test_all_or_none_take_part_at_the_ends(visitor, weights):
    """100 % leaves nobody out by rounding, 0 % takes nobody in."""
    who = {"experiment_id": EXPERIMENT, "visitor_id": visitor, "weights": weights}
    assert assign(**who, traffic_percentage=100) in range(len(weights))
    assert assign(**who, traffic_percentage=0) is None


@hypothesis.given(TEXTS, st.lists(st.integers(1, 100), min_size=2, max_size=20), st.integers(0, 10))
def test_only_the_proportion_of_weights_counts(visitor, weights, doublings):
    """50 and 50 are 1 and 1; powers of two, so that no rounding differs."""
    scaled = [weight * 2**doublings for weight in weights]
    first, second = (
        assign(experiment_id=EXPERIMENT, visitor_id=visitor, weights=each, traffic_percentage=100)
        for each in (weights, scaled)
    )
    assert first == second


@pytest.mark.parametrize("case", URL_CASES, ids=lambda case: f"{case['matchType']} {case['targetUrl']}")
def test_a_page_takes_part_by_the_shared_table(case):
    """The browser script is tested with the same table."""
    assert matches_url(case["matchType"], case["targetUrl"], case["url"]) is case["expected"]


@hypothesis.given(st.sampled_from(["all", "exact", "contains", "starts_with"]), TEXTS, TEXTS)
def test_any_text_may_stand_where_a_url_should(match_type, target, url):
    """An address that is none is answered, never raised."""
    assert matches_url(match_type, target, url) in {True, False}
