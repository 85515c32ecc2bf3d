"""Families of treatments against one control: the chance that any is as extreme, and the level that follows."""

import numpy as np
import pytest
from scipy import special

from stats import dunnett, tails
from stats.limits import Family


def chance_by_quadrature(z, lambdas):
    """Give the chance that any |Z_i| exceeds z by thousands of pieces, finest where chances climb."""
    widths = [np.sqrt(1.0 - loading**2) / loading for loading in lambdas]
    about = [
        z / loading + width * np.linspace(-14, 14, 281) for loading, width in zip(lambdas, widths, strict=True)
    ]
    edges = np.unique(np.clip(np.concatenate([np.linspace(0, 16, 2001), *about]), 0, 16))
    places, weights = np.polynomial.legendre.leggauss(20)
    lengths = np.diff(edges)
    x = edges[:-1, None] + lengths[:, None] * (0.5 + 0.5 * places)
    kept = np.zeros_like(x)
    for loading in lambdas:
        rest = np.sqrt(1.0 - loading**2)
        beyond = special.ndtr((loading * x - z) / rest) + special.ndtr((-loading * x - z) / rest)
        kept += np.log1p(-np.minimum(beyond, 1.0 - 1e-16))
    density = -np.expm1(kept) * np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    return lengths @ (density @ weights)


@pytest.mark.parametrize(
    "lambdas",
    [
        (0.3, 0.5, 0.7),
        (0.7071, 0.7071, 0.7071, 0.7071),
        (0.899, 0.5, 0.2),
        (0.901, 0.5, 0.2),
        (0.99, 0.99, 0.99),
        (0.99996, 0.99998, 0.99993),
        (0.9999999, 0.6, 0.95, 0.99),
        (0.7071,) * 19,
        (0.74,) * 36,
    ],
)
@pytest.mark.parametrize("z", [0.5, 1.96, 3.0, 4.5, 8.0])
def test_the_chance_that_any_of_a_family_is_as_extreme(lambdas, z):
    """Also where a treatment is a million times as large as the control, whose deviation all then share."""
    p = np.full(len(lambdas), tails.two_sided(np.array(z)))
    expected = min(len(lambdas) * p[0], max(p[0], chance_by_quadrature(z, lambdas)))
    assert dunnett.adjusted_p(p, np.array(lambdas)) == pytest.approx(np.full(len(p), expected), rel=1e-9)


@pytest.mark.parametrize("treatment_n", [100.0, 1e4, 1e6, 1e9])
@pytest.mark.parametrize("alpha", [0.05, 1e-3, 1e-8])
def test_the_level_of_each_gives_the_error_of_the_family(treatment_n, alpha):
    """Whatever the sizes; where the control is tiny, all treatments are one test at the level itself."""
    sizes = treatment_n * np.array([1.0, 2.0, 3.0])
    lambdas = dunnett.loadings(np.array([100.0]), sizes)
    level = dunnett.level(alpha, lambdas)
    assert alpha / 3.0 < level < alpha
    assert dunnett.adjusted_p(np.full(3, level), lambdas) == pytest.approx(np.full(3, alpha), rel=1e-9)


def test_goals_together_have_the_levels_that_each_has_alone():
    """Families that are alike are solved once: each keeps the level of its own visitors and error."""
    sizes = np.array([[90.0, 110.0, 130.0], [90.0, 110.0, 130.0], [90.0, 110.0, 900.0], [90.0, 110.0, 130.0]])
    control, errors = np.full((4, 1), 100.0), np.array([0.05, 0.025, 0.05, 0.05])
    together = Family.of(control, sizes, errors).fixed_level
    alone = [Family.of(control[at], sizes[at], errors[at]).fixed_level for at in range(4)]
    assert together.tolist() == [each.tolist() for each in alone]
    assert together[0] == together[3] != together[1]
    assert together[0] != together[2]


@pytest.mark.parametrize("least", [0.05, 0.5, 0.65, 0.99])
@pytest.mark.parametrize("most", [0.7, 0.74, 0.9, 0.999])
def test_many_p_values_of_a_family_are_those_that_each_has_alone(least, most, monkeypatch):
    """Where a thousand are asked for, a polynomial answers: near, far out, and where a treatment is large."""
    lambdas = np.linspace(min(least, most), max(least, most), 19)
    p = tails.two_sided(np.linspace(0.0, 12.0, 19 * 50).reshape(50, 19))
    alone = np.array([dunnett.adjusted_p(row, lambdas) for row in p[::7]])
    asked = []
    any_beyond = dunnett._any_beyond  # noqa: SLF001
    monkeypatch.setattr(dunnett, "_any_beyond", lambda z, family: asked.append(z.size) or any_beyond(z, family))

    together = dunnett.adjusted_p(p, np.broadcast_to(lambdas, p.shape))

    assert together[::7] == pytest.approx(alone, rel=1e-9)
    assert (np.diff(together.ravel()) <= 1e-12).all()
    assert sum(asked) <= (300 if max(least, most) < 0.99 else 600)


def test_a_family_is_the_same_for_p_values_of_any_shape():
    """One for all goals, or one beside each of them, also where there are as many goals as treatments."""
    lambdas = np.array([0.5, 0.6, 0.7, 0.72])
    for goals in (1, 2, 4):
        p = np.linspace(0.001, 0.9, goals * 4).reshape(goals, 4)
        alone = [dunnett.adjusted_p(row, lambdas).tolist() for row in p]
        for families in (lambdas, lambdas[None], np.broadcast_to(lambdas, p.shape)):
            assert dunnett.adjusted_p(p, families).tolist() == alone


def test_treatments_that_are_alike_share_pieces_without_losing_digits():
    """Sixty treatments within a tenth need those of two; unlike ones keep their own."""
    alike, unlike = np.linspace(0.6, 0.66, 60), np.array([0.6, 0.9, 0.99, 0.999])
    assert dunnett._unlike(alike).size == 2  # noqa: SLF001
    assert sorted(dunnett._unlike(unlike)) == sorted(unlike)  # noqa: SLF001
    for lambdas in (alike, np.linspace(0.6, 0.97, 40), 1.0 - np.logspace(-0.5, -6, 12)):
        for z in (2.0, 6.0):
            p = tails.two_sided(np.full(len(lambdas), z))
            expected = max(p[0], chance_by_quadrature(z, lambdas))
            assert dunnett.adjusted_p(p, lambdas) == pytest.approx(np.full(len(p), expected), rel=1e-9)


def test_a_family_has_the_same_bits_whatever_it_is_asked_with():
    """Another family with more unlike treatments adds empty pieces, which change nothing."""
    draw = np.random.default_rng(4)
    families = np.sqrt(draw.uniform(0.1, 0.99, (40, 6)))
    p = tails.two_sided(draw.uniform(1.0, 6.0, (40, 6)))

    together = dunnett.adjusted_p(p, families)

    alone = [dunnett.adjusted_p(one, family).tolist() for one, family in zip(p, families, strict=True)]
    assert together.tolist() == alone
