"""Vectors of two arms with sums: Welch, CUPED, ratio metrics, margins, Bayes, epochs."""

from typing import Any

import numpy as np

from stats import (
    best_arm,
    beta_binomial,
    confidence_sequence,
    cuped,
    equivalence,
    fieller,
    posterior,
    quantiles,
    strata,
    tails,
)
from stats.arms import Arms
from stats.moments import Moments, of_means
from stats.ratio_metrics import RatioArm, of_ratios
from stats.reference.inputs import Inputs, exact, rows_of_recipe
from stats.saddle_point import Floats
from stats.tally import Tally


def welch(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate Welch's test, on the absolute scale or the delta method's relative one."""
    moments = of_means(*(_arm(arm) for arm in inputs.arms()))
    if str(inputs.get("scale", "")).startswith("relative"):
        return _relative(moments, inputs.alpha)
    return _absolute(moments, inputs.alpha)


def adjusted(name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate CUPED with the slopes that the vector's name says, or the unadjusted test."""
    arms = [_covariate_arm(arm) for arm in inputs.arms()]
    if "unadjusted" in name:
        return _absolute(of_means(arms[0].arms, arms[1].arms), inputs.alpha)
    kind, word = next(
        (pair for pair in (("pooled", "pooled"), ("pooled", "deng"), ("within", "within"), ("within", "ancova"))
         if pair[1] in name),
        ("per_arm", "lin"),
    )  # fmt: skip
    found = cuped.adjust(arms[0], arms[1], kind)  # type: ignore[arg-type]
    moments, thetas = found.adjusted, (float(found.theta0[0]), float(found.theta1[0]))
    from_sums = float(np.sqrt(_residual_variance(arms, thetas, 2.0 if word == "lin" else 1.0)))
    super_population = float(np.sqrt(moments.variance))
    result = _absolute(moments, inputs.alpha) | {
        "theta": thetas if kind == "per_arm" else thetas[0],
        "se": from_sums if kind != "per_arm" else super_population,
        "se_from_sums": from_sums,
        "se_superpopulation": super_population,
        "variance_ratio": found.variance_ratio,
        "imbalance_z": found.imbalance_z,
        "covariance": moments.covariance,
    }
    if "recipe" in inputs:
        result |= _heteroskedastic(inputs["recipe"], interacted=kind == "per_arm")
    return result


def ratio_metric(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate a ratio metric by the delta method: y (or m, numerator) over x (or d, denominator)."""
    moments = of_ratios(*(_ratio_arm(arm) for arm in inputs.arms()))
    if str(inputs.get("scale", "")).startswith("relative"):
        return _relative(moments, inputs.alpha)
    return _absolute(moments, inputs.alpha) | {
        "ratios": (moments.mean0, moments.mean1),
        "var": (moments.v0, moments.v1),
        "variance": moments.variance,
    }


def not_worse(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the one-sided p-value against a difference at the margin or below."""
    moments = _moments(inputs)
    # A margin is written as the difference it allows, below 0.
    allowed = -inputs.number("margin")
    p = equivalence.not_worse_p(moments.difference, np.sqrt(moments.variance), moments.df, allowed)
    return {"p": p, "main": p}


def equivalent(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate two one-sided tests."""
    moments = _moments(inputs)
    se = np.sqrt(moments.variance)
    p = equivalence.equivalent_p(moments.difference, se, moments.df, inputs.number("low"), inputs.number("high"))
    return {"p": p, "main": p}


def bayes(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate a normal posterior of the lift by the delta method (or of the difference)."""
    moments = _moments(inputs)
    estimate, variance = moments.difference, moments.variance
    if "absolute" not in str(inputs.get("scale", "relative")):
        estimate, variance = _delta(moments)
    prior = inputs["prior"]
    flat = not isinstance(prior, dict)
    mean, sd = posterior.normal_posterior(
        estimate, variance, 0.0 if flat else prior["mean"], np.inf if flat else prior["var"]
    )
    chance, choosing, leaving = posterior.chance_and_losses(mean, sd)
    margin = tails.critical(inputs.alpha) * sd
    return {
        "mean": mean,
        "sd": sd,
        "ci": (mean - margin, mean + margin),
        "ctw": chance,
        "risk_control": leaving,
        "risk_treatment": choosing,
    }


def always_valid(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the asymptotic confidence sequence of a difference or of the delta method's lift."""
    moments, n_star, alpha = _moments(inputs), inputs.number("n_star"), inputs.alpha
    estimate, variance = moments.difference, moments.variance
    if str(inputs.get("scale", "")).startswith("relative"):
        estimate, variance = _delta(moments)
    n, se = moments.n0 + moments.n1, np.sqrt(variance)
    margin = confidence_sequence.multiplier(n, n_star, alpha) * se
    limits = (estimate - margin, estimate + margin)
    p = confidence_sequence.p_value(np.square(estimate / se), n, n_star, alpha)
    return {"est": estimate, "se": se, "ci": limits, "p": p, "main": limits}


def epochs(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate epochs pooled, as they must not be, and combined by their visitors."""
    control, treatment = (
        Arms.of_proportions(
            *(np.array([epoch[arm][key] for epoch in inputs["epochs"]], float) for key in ("x", "n"))
        )
        for arm in ("control", "treatment")
    )
    whole = [float(x) for arm in (control, treatment) for x in (arm.sum.sum(), arm.n.sum())]
    s0, n0, s1, n1 = (np.asarray(x) for x in whole)
    moments = strata.of_epochs(control, treatment)
    spread = s0 / n0 * (1.0 - s0 / n0) / n0 + s1 / n1 * (1.0 - s1 / n1) / n1
    rates = (moments.mean0, moments.mean1)
    counts = [(arm.sum, arm.n, arm.sum / arm.n) for arm in (control, treatment)]
    weight = (control.n + treatment.n) / (n0 + n1)
    binomial = sum(weight * weight * p * (1.0 - p) / n for _, n, p in counts).sum()
    return {
        "pooled_diff": s1 / n1 - s0 / n0,
        "pooled_lift": s1 / n1 / (s0 / n0) - 1.0,
        "pooled_z": (s1 / n1 - s0 / n0) / np.sqrt(spread),
        "stratified_diff": moments.difference,
        "stratified_lift": rates[1] / rates[0] - 1.0,
        "stratified_se": np.sqrt(binomial),
        "stratified_z": moments.difference / np.sqrt(binomial),
    }


def t_from_moments(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate Student's or Welch's t from means and standard deviations, arm 1 less arm 2."""
    m1, s1, n1, m2, s2, n2 = (inputs.number(key) for key in ("m1", "s1", "n1", "m2", "s2", "n2"))
    arms = [
        Arms(*(np.asarray(x) for x in (n, m * n, s * s * (n - 1)))) for m, s, n in ((m2, s2, n2), (m1, s1, n1))
    ]
    moments = of_means(*arms)
    variance, df = moments.variance, moments.df
    if inputs.get("equal_var"):
        df = np.asarray(n1 + n2 - 2.0)
        variance = (arms[0].m2 + arms[1].m2) / df * (1.0 / n1 + 1.0 / n2)
    t = moments.difference / np.sqrt(variance)
    return {"t": t, "df": df, "p": tails.student_two_sided(t, df), "est": moments.difference, "main": t}


def betas(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate two beta posteriors: the chance that B beats A, and what choosing B, or A, loses."""
    a, b = (inputs.number("alphaA"), inputs.number("betaA")), (inputs.number("alphaB"), inputs.number("betaB"))
    chance = beta_binomial.chance_to_beat(*a, *b)
    return {
        "prob_b_gt_a": chance,
        "expected_loss_choose_b": beta_binomial.expected_loss(*a, *b),
        "expected_loss_choose_a": beta_binomial.expected_loss(*b, *a),
        "main": chance,
    }


def best_of(_name: str, inputs: Inputs) -> Floats:
    """Evaluate each arm's chance of being the best."""
    return best_arm.chance_of_best(inputs.array("mean"), inputs.array("sd"))


def quantile_pair(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the difference of two quantiles by their outer order statistics."""
    control, treatment = (
        quantiles.QuantileArm(
            *(np.asarray(arm[key], float) for key in ("n", "quantile_hat", "quantile_lower", "quantile_upper"))
        )
        for arm in inputs.arms()
    )
    moments = quantiles.of_quantiles(control, treatment, inputs.alpha)
    if str(inputs.get("scale", "")).startswith("relative"):
        return _relative(moments, inputs.alpha)
    return _absolute(moments, inputs.alpha)


def variance_left(_name: str, inputs: Inputs) -> float:
    """Evaluate what CUPED leaves of a variance (Deng et al. 2013, eq. 4)."""
    return 1.0 - inputs.number("rho") ** 2


def offset_variance(_name: str, inputs: Inputs) -> list[float]:
    """Evaluate the variance of seeded normal values at each offset, from exact sums."""
    values = np.random.default_rng(int(inputs["seed"])).standard_normal(int(inputs["n"]))
    found = []
    for offset in np.atleast_1d(inputs.array("offset")):
        exactly = [exact({"v": float(x)}, "v") for x in offset + values]
        tally = Tally.from_exact_sums(len(exactly), sum(exactly), sum(x * x for x in exactly))
        found.append(tally.variance)
    return found


def _absolute(moments: Moments, alpha: float) -> dict[str, Any]:
    difference, se = moments.difference, np.sqrt(moments.variance)
    critical = tails.student_critical(moments.df, alpha)
    low, high = fieller.lift_interval(
        moments.mean0, moments.v0, moments.mean1, moments.v1, critical, covariance=moments.covariance
    )
    t = difference / se
    limits = (difference - critical * se, difference + critical * se)
    p = tails.student_two_sided(t, moments.df)
    return {
        "est": difference,
        "diff": difference,
        "se": se,
        "t": t,
        "z": t,
        "df": moments.df,
        "p": p,
        "ci": limits,
        "lift": moments.mean1 / moments.mean0 - 1.0,
        "ratio": moments.mean1 / moments.mean0,
        "lift_ci": (low, high),
        "ratio_ci": (low + 1.0, high + 1.0),
        "main": lambda expected: limits if isinstance(expected, list) else p,
    }


def _relative(moments: Moments, alpha: float) -> dict[str, Any]:
    estimate, variance = _delta(moments)
    se, df = np.sqrt(variance), moments.df
    critical, t = tails.student_critical(df, alpha), estimate / np.sqrt(variance)
    limits = (estimate - critical * se, estimate + critical * se)
    p = tails.student_two_sided(t, df)
    return {"est": estimate, "lift": estimate, "se": se, "df": df, "t": t, "p": p, "ci": limits, "main": limits}


def _delta(moments: Moments) -> tuple[Floats, Floats]:
    """Give the lift and its first-order variance: what other engines report, not used outside of here."""
    ratio = moments.mean1 / moments.mean0
    variance = (moments.v1 - 2.0 * ratio * moments.covariance + ratio * ratio * moments.v0) / moments.mean0**2
    return ratio - 1.0, variance


def _moments(inputs: Inputs) -> Moments:
    """Take two arms of rates (binomial variance), of sums, or of sums written with a covariate."""
    control, treatment = inputs.arms()
    if "sum_y" in control:
        return of_means(*(_covariate_arm(arm).arms for arm in (control, treatment)))
    if "sum" in control:
        return of_means(_arm(control), _arm(treatment))
    s0, n0, s1, n1 = (np.asarray(arm[key], np.float64) for arm in (control, treatment) for key in ("x", "n"))
    p0, p1 = s0 / n0, s1 / n1
    return Moments(p0, p0 * (1.0 - p0) / n0, n0, p1, p1 * (1.0 - p1) / n1, n1, df=n0 + n1 - 2.0)


def _arm(arm: dict[str, Any]) -> Arms:
    tally = Tally.from_exact_sums(int(arm["n"]), exact(arm, "sum"), exact(arm, "sumsq"))
    return Arms(*(np.asarray(x) for x in (tally.n, tally.sum, tally.m2)))


def _centred(arm: dict[str, Any], y: str, x: str, yy: str, xx: str, xy: str) -> tuple[float, ...]:
    """Give (n, mean y, mean x, m2 y, m2 x, centred product), centred in exact arithmetic."""
    n = int(arm["n"])
    total_y, total_x = exact(arm, y), exact(arm, x)
    parts = (
        total_y / n,
        total_x / n,
        exact(arm, yy) - total_y**2 / n,
        exact(arm, xx) - total_x**2 / n,
        exact(arm, xy) - total_x * total_y / n,
    )
    return (float(n), *(float(part) for part in parts))


def _covariate_arm(arm: dict[str, Any]) -> cuped.CovariateArm:
    n, y, x, yy, xx, xy = _centred(arm, "sum_y", "sum_x", "sumsq_y", "sumsq_x", "sum_xy")
    n_, y_, yy_ = (np.asarray(value) for value in (n, y, yy))
    return cuped.CovariateArm(n_, y_, yy_, np.array([x]), np.array([[xx]]), np.array([xy]))


def _ratio_arm(arm: dict[str, Any]) -> RatioArm:
    """Take sums of a numerator (y, m, num) and a denominator (x, d, den), their squares and their products."""
    sums = [key for key in arm if key != "n"]
    squares = [key for key in sums if "sq" in key]
    products = [key for key in sums if key not in squares and _tells(key, _TOP) and _tells(key, _BOTTOM)]
    product = products[0] if products else next(key for key in sums if "prod" in key or "xy" in key)
    plain = [key for key in sums if key not in squares and key != product]
    found = []
    for words in (_TOP, _BOTTOM):
        found.append(next(key for key in plain if _tells(key, words)))
        found.append(next(key for key in squares if _tells(key, words)))
    n, y, x, yy, xx, xy = _centred(arm, found[0], found[2], found[1], found[3], product)
    return RatioArm(*(np.asarray(value) for value in (n, y, x, yy, xx, xy)))


def _tells(key: str, words: tuple[str, ...]) -> bool:
    """Say whether a part of a name is one of these words, or two letters with one: sum_y, sum_num_den, sum_xy."""
    parts = [part for part in key.lower().split("_") if not part.startswith("sum") and part != "squares"]
    letters = {letter for part in parts if len(part) <= _LETTERS_MAX for letter in part}
    return any(word in parts or word in letters for word in words)


_LETTERS_MAX = 2
_TOP = ("y", "m", "num", "numerator", "main")
_BOTTOM = ("x", "d", "den", "denom", "denominator")


def _residual_variance(arms: list[cuped.CovariateArm], thetas: tuple[float, float], spent: float) -> float:
    total = 0.0
    for arm, theta in zip(arms, thetas, strict=True):
        m2 = float(arm.yy - 2.0 * theta * arm.xy[0] + theta * theta * arm.xx[0, 0])
        total += m2 / float(arm.n) / (float(arm.n) - spent)
    return total


def _heteroskedastic(recipe: str, *, interacted: bool) -> dict[str, float]:
    """Give HC2 and HC3 errors of the regression that CUPED amounts to, an oracle from the rows themselves."""
    rows = rows_of_recipe(recipe)
    x, y = (np.concatenate([rows[arm][i] for arm in ("control", "treatment")]) for i in (0, 1))
    treated = np.concatenate(
        [np.full(len(rows[arm][0]), float(arm == "treatment")) for arm in ("control", "treatment")]
    )
    apart = x - x.mean()
    columns = [np.ones_like(x), treated, apart] + ([treated * apart] if interacted else [])
    design = np.stack(columns, axis=1)
    bread = np.linalg.inv(design.T @ design)
    residual = y - design @ (bread @ design.T @ y)
    leverage = np.einsum("ij,jk,ik->i", design, bread, design)
    found = {}
    for name, power in (("ols_hc2", 1), ("ols_hc3", 2)):
        meat = design.T @ (design * (residual**2 / (1.0 - leverage) ** power)[:, None])
        found[name] = float(np.sqrt((bread @ meat @ bread)[1, 1]))
    return found
