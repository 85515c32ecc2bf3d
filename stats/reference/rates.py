"""Vectors of one rate and of two."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stats import exact, fieller, one_proportion, proportions, tails, two_proportions
from stats.arms import Arms
from stats.moments import of_means
from stats.reference.inputs import Inputs
from stats.saddle_point import Floats


def tail(_name: str, inputs: Inputs) -> float:
    """Evaluate the two-sided p-value of a z."""
    return float(tails.two_sided(inputs.array("z")))


def one_rate(_name: str, inputs: Inputs) -> tuple[Floats, Floats]:
    """Evaluate an interval of a single rate by its method's name."""
    s, n = inputs.array("x"), inputs.array("n")
    methods = {
        "wilson": one_proportion.wilson,
        "wilson_cc": one_proportion.wilson_corrected,
        "clopper_pearson": one_proportion.clopper_pearson,
        "mid_p": one_proportion.mid_p,
    }
    return methods[inputs.method](s, n, inputs.alpha)


def restricted(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the rates restricted to a difference; rate 2 unless the vector asks for rate 1."""
    s2, n2, s1, n1 = (inputs.array(key) for key in ("x2", "n2", "x1", "n1"))
    rate2, rate1 = two_proportions.restricted_rates(s2, n2, s1, n1, inputs.number("delta"))
    return {"p1": rate1, "p2": rate2, "main": rate1 if "p1 under" in str(inputs.get("what")) else rate2}


def two_rates(_name: str, inputs: Inputs) -> Any:
    """Evaluate an interval of arm 1 against arm 2 by its method's name."""
    s2, n2, s1, n1 = (inputs.array(key) for key in ("x2", "n2", "x1", "n1"))
    if inputs.get("contrast") == "p2-p1":
        s2, n2, s1, n1 = s1, n1, s2, n2
    return _interval(inputs.method, s2, n2, s1, n1, inputs.alpha)


def pair(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate tests and intervals of a treatment against a control, those of one method or all."""
    control, treatment = inputs.arms()
    s0, n0, s1, n1 = (np.asarray(arm[key], np.float64) for arm in (control, treatment) for key in ("x", "n"))
    counts, alpha, method = (s0, n0, s1, n1), inputs.alpha, inputs.method
    z = proportions.score_z(*counts, unbiased=False)
    anybody = bool((s0 + s1 > 0.0) & (s0 + s1 < n0 + n1))
    found = {
        "mn_rd": _interval("miettinen_nurminen", *counts, alpha),
        "mee_rd": _interval("mee_score", *counts, alpha),
        "newcombe": two_proportions.newcombe(*counts, alpha),
        "newcombe_rd": two_proportions.newcombe(*counts, alpha),
        "wald": two_proportions.wald(*counts, alpha),
        "agresti_caffo": two_proportions.agresti_caffo(*counts, alpha),
        "ratio_ci": _interval("koopman_score_ratio", *counts, alpha),
        "mn_ratio_ci": _interval("miettinen_nurminen_ratio", *counts, alpha),
        "pooled_z": z,
        "pooled_p": tails.two_sided(z) if anybody else np.nan,
        "fisher_p": exact.fisher(*counts),
        "mid_p": exact.mid_p(*counts),
    }
    return found | _by_method(method, counts, alpha, inputs)


def _interval(method: str, s0: Floats, n0: Floats, s1: Floats, n1: Floats, alpha: float) -> tuple[Floats, Floats]:
    counts = (s0, n0, s1, n1)
    closed: dict[str, Callable[[Floats, Floats, Floats, Floats, float], tuple[Floats, Floats]]] = {
        "newcombe_method10": two_proportions.newcombe,
        "newcombe": two_proportions.newcombe,
        "wald": two_proportions.wald,
        "agresti_caffo": two_proportions.agresti_caffo,
    }
    if method in closed:
        return closed[method](*counts, alpha)
    critical = tails.critical(alpha)
    score = {
        "miettinen_nurminen": (proportions.difference_interval, True),
        "mee_score": (proportions.difference_interval, False),
        "miettinen_nurminen_ratio": (proportions.ratio_interval, True),
        "koopman_score_ratio": (proportions.ratio_interval, False),
    }
    function, unbiased = score[method]
    return function(*counts, critical, unbiased=unbiased)


@np.errstate(all="ignore")
def _by_method(
    method: str, counts: tuple[Floats, Floats, Floats, Floats], alpha: float, inputs: Inputs
) -> dict[str, Any]:
    """Give what a method by words asks for: an estimate, its error, limits and p-value."""
    s0, n0, s1, n1 = counts
    p0, p1 = s0 / n0, s1 / n1
    v0, v1, z_alpha = p0 * (1.0 - p0) / n0, p1 * (1.0 - p1) / n1, tails.critical(alpha)
    if "pooled" in method and "unpooled" not in method:
        z = proportions.score_z(*counts, unbiased=False)
        return {"z": z, "p": tails.two_sided(z), "chi2": z * z, "est": p1 - p0, "diff": p1 - p0, "main": z}
    if "welch" in method:
        moments = of_means(Arms.of_proportions(s0, n0), Arms.of_proportions(s1, n1))
        se, df = np.sqrt(moments.variance), moments.df
        t, margin = (p1 - p0) / se, tails.student_critical(df, alpha) * se
        limits = (p1 - p0 - margin, p1 - p0 + margin)
        p = tails.student_two_sided(t, df)
        return {"est": p1 - p0, "se": se, "t": t, "df": df, "p": p, "ci": limits, "main": limits}
    if "delta" in method:
        lift, se = p1 / p0 - 1.0, np.sqrt(v1 / p0**2 + p1 * p1 * v0 / p0**4)
        return _normal(lift, se, z_alpha) | {"lift": lift, "ratio": lift + 1.0}
    if "log" in method:
        log_ratio, se = np.log(p1 / p0), np.sqrt((1.0 - p1) / s1 + (1.0 - p0) / s0)
        low, high = (np.exp(log_ratio + sign * z_alpha * se) for sign in (-1.0, 1.0))
        return _of_ratio(p1 / p0, (low, high), log_ratio / se, on_ratio=_on_ratio(inputs)) | {"se": se}
    if "fieller" in method:
        low, high = fieller.lift_interval(p0, v0, p1, v1, z_alpha)
        z = (p1 - p0) / np.sqrt(v0 + v1)
        return _of_ratio(p1 / p0, (low + 1.0, high + 1.0), z, on_ratio=_on_ratio(inputs))
    if "koopman" in method or "score_ratio" in method or method == "miettinen_nurminen_ratio":
        name = "miettinen_nurminen_ratio" if "miettinen" in method else "koopman_score_ratio"
        z = proportions.score_z(*counts, unbiased="miettinen" in method)
        return _of_ratio(p1 / p0, _interval(name, *counts, alpha), z, on_ratio=_on_ratio(inputs))
    if method in {"miettinen_nurminen", "mee_score", "newcombe_method10", "newcombe", "agresti_caffo"}:
        limits = _interval(method, *counts, alpha)
        return {"est": p1 - p0, "diff": p1 - p0, "ci": limits, "low": limits[0], "high": limits[1], "main": limits}
    if "fisher" in method or "mid" in method:
        p = exact.fisher(*counts) if "fisher" in method else exact.mid_p(*counts)
        return {"p": p, "main": p}
    return _normal(p1 - p0, np.sqrt(v0 + v1), z_alpha) | {"diff": p1 - p0}


def _normal(estimate: Floats, se: Floats, critical: Floats) -> dict[str, Any]:
    z, limits = estimate / se, (estimate - critical * se, estimate + critical * se)
    p = tails.two_sided(z)
    return {"est": estimate, "se": se, "z": z, "p": p, "ci": limits, "main": _limits_or(limits, p)}


def _of_ratio(ratio: Floats, limits: tuple[Floats, Floats], z: Floats, *, on_ratio: bool) -> dict[str, Any]:
    lift_limits = (limits[0] - 1.0, limits[1] - 1.0)
    p = tails.two_sided(z)
    return {
        "ratio": ratio,
        "lift": ratio - 1.0,
        "est": ratio if on_ratio else ratio - 1.0,
        "z": z,
        "p": p,
        "ci": limits if on_ratio else lift_limits,
        "ratio_ci": limits,
        "lift_ci": lift_limits,
        "main": _limits_or(limits, p),
    }


def _limits_or(limits: tuple[Floats, Floats], p: Floats) -> Callable[[Any], Any]:
    """Give what stands alone: the limits where two numbers are expected, the p-value where one is."""
    return lambda expected: limits if isinstance(expected, list) else p


def _on_ratio(inputs: Inputs) -> bool:
    return "ratio" in str(inputs.get("scale", "")) or str(inputs.get("method", "")).lower() in {
        "fieller ratio",
        "koopman",
        "koopman_score_ratio",
        "miettinen_nurminen_ratio",
        "fieller",
    }
