"""Vectors of looking often: mixtures, group sequential bounds, splits of visitors."""

import re
from typing import Any, Literal, cast

import numpy as np
from scipy import special

from stats import confidence_sequence, group_design, group_sequential, sample_ratio
from stats.reference.inputs import Inputs
from stats.saddle_point import Floats


def mixture_bound(name: str, inputs: Inputs) -> float:
    """Evaluate the mixture boundary of a martingale, two-sided unless the name says one-sided."""
    v, v_opt = inputs.number("v"), inputs.number("v_opt")
    one_sided = "one_sided" in name or inputs.get("sides") == 1
    bound = confidence_sequence.one_sided_boundary if one_sided else confidence_sequence.boundary
    return float(bound(v, v_opt, inputs.alpha))


def log_mixture(_name: str, inputs: Inputs) -> float:
    """Evaluate the log e-value of a sum s of variance v."""
    s, v = inputs.array("s"), inputs.array("v")
    weight = confidence_sequence.mixing_ratio(inputs.number("v_opt"), inputs.get("alpha_opt", inputs.alpha))
    return float(confidence_sequence.log_e_value(s * s / v, v, weight))


def mixture_multiplier(_name: str, inputs: Inputs) -> float:
    """Evaluate how many standard errors hold at every look."""
    return float(confidence_sequence.multiplier(inputs.array("n"), inputs.number("n_star"), inputs.alpha))


def mixing_weight(name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the mixture's weight, exact unless the name says otherwise."""
    n_star, alpha = inputs.number("n_star"), inputs.alpha
    exact = confidence_sequence.exact_mixing_ratio(n_star, alpha)
    approximate = confidence_sequence.mixing_ratio(n_star, alpha)
    return {"g": exact, "main": exact if "exact" in name or "approx" not in name else approximate}


def classic_bounds(name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the constant of Pocock's or O'Brien & Fleming's test, or its bounds where a list is expected."""
    looks, alpha = int(inputs["K"]), inputs.alpha * (1.0 if inputs.get("sides", 2) == 2 else 2.0)  # noqa: PLR2004
    pocock = "pocock" in name.lower()
    c = group_design.constant(looks, alpha, "pocock" if pocock else "obrien_fleming")
    limits = [c if pocock else c * np.sqrt(looks / k) for k in range(1, looks + 1)]
    return {"constant": c, "bounds": limits, "main": lambda expected: limits if isinstance(expected, list) else c}


def design_cost(name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate how much larger a group sequential design is than one look."""
    shape: group_design.Shape = "pocock" if "pocock" in name.lower() else "obrien_fleming"
    found = group_design.of_shape(int(inputs["K"]), inputs.alpha, 1.0 - inputs.number("beta"), shape)
    return {
        "R": found.maximum,
        "ASN0": found.average_without_effect,
        "ASN1": found.average_with_effect,
        "main": found.maximum,
    }


def repeated_looks(_name: str, inputs: Inputs) -> float:
    """Evaluate the chance that one of K looks is beyond a fixed z."""
    return group_design.false_positives(int(inputs["K"]), float(inputs.get("z", 1.959963984540054)))


def spending_bounds(name: str, inputs: Inputs) -> tuple[float, ...]:
    """Evaluate bounds by a spending function, told by its formula or by the name."""
    looks = int(inputs.get("K", 0))
    info = tuple(float(t) for t in inputs.get("info", [(k + 1) / looks for k in range(looks)]))
    sides = cast("Literal[1, 2]", int(inputs.get("sides", 2)))
    rule, parameter = _spending(name.lower(), inputs)
    return group_sequential.bounds(info, inputs.alpha, rule, parameter, sides)


def chi_square(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate Pearson's test of a split."""
    found = sample_ratio.splits(inputs.array("observed"), inputs.array("weights"))
    return {"chi2": found.statistic, "df": found.df, "p": found.p_value, "main": found.p_value}


def log_bayes_factor(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the Dirichlet-multinomial evidence against a split, for one concentration or a mixture."""
    found = sample_ratio.splits(
        inputs.array("counts"), inputs.array("theta0"), list(np.atleast_1d(inputs.array("k")))
    )
    log_e = float(found.log_e)
    return {"log_bf": log_e, "e": np.exp(min(log_e, 700.0)), "p": np.exp(-max(log_e, 0.0)), "main": log_e}


def unit_sequence(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate the log marginals of a sequence of single visitors, after each of them."""
    prior = inputs.array("dirichlet")
    counts = np.cumsum(inputs.array("rows"), axis=0)
    m1 = _log_marginal(counts, prior)
    m0 = special.xlogy(counts, inputs.array("theta0")).sum(axis=-1)
    return {"log_m1": m1, "log_m0": m0, "log_bf": m1 - m0}


def drawn_sequence(_name: str, inputs: Inputs) -> dict[str, Any]:
    """Evaluate when a seeded sequence of visitors is first found to break a split, and what was seen then."""
    np_state = np.random.RandomState(int(inputs["seed"]))
    draws = np_state.multinomial(1, inputs["theta"], size=int(inputs["size"]))
    counts = np.cumsum(draws, axis=0).astype(np.float64)
    found = sample_ratio.splits(counts, inputs.array("theta0"), [inputs.number("k")])
    p = np.exp(-np.maximum(np.maximum.accumulate(found.log_e), 0.0))
    stopped = int(np.argmax(p < inputs.alpha)) if (p < inputs.alpha).any() else len(p) - 1
    seen: Floats = counts[stopped] / counts[stopped].sum()
    return {"stop_n": stopped + 1.0, "p": p[stopped], "estimate": seen}


def _log_marginal(counts: Floats, prior: Floats) -> Floats:
    parts = special.gammaln(prior + counts) - special.gammaln(prior)
    total = special.gammaln(prior.sum()) - special.gammaln(prior.sum() + counts.sum(axis=-1))
    marginal: Floats = total + parts.sum(axis=-1)
    return marginal


def _spending(name: str, inputs: Inputs) -> tuple[group_sequential.Spending, float]:
    formula = str(inputs.get("spending", "")).lower()
    said = f"{name} {formula}"
    if "gamma" in inputs or "hsd" in said or "hwang" in said:
        return "hwang_shih_decani", float(inputs["gamma"] if "gamma" in inputs else inputs.get("param") or -4.0)
    if "power" in said or "rho" in inputs or re.search(r"\*\s*t(\^|\*\*)", formula):
        written = re.search(r"rho_?(\d+(?:\.\d+)?)", name) or re.search(r"t(?:\^|\*\*)(\d+(?:\.\d+)?)", formula)
        return "power", float(inputs["rho"] if "rho" in inputs else written.group(1) if written else 2.0)
    if "pocock" in said or "ln(1+" in formula or "log(1+" in formula:
        return "pocock", 0.0
    return "obrien_fleming", 0.0
