"""Vectors of planning and of many comparisons: sizes, power, families, Dunnett."""

from typing import Any, Literal, cast

import numpy as np
from scipy import special

from stats import dunnett, multiplicity, power
from stats.reference.inputs import Inputs, infinite


def dunnett_value(_name: str, inputs: Inputs) -> float:
    """Evaluate Dunnett's critical value."""
    sides = cast("Literal[1, 2]", int(inputs.get("sides", 2)))
    return dunnett.critical_value(
        int(inputs["k"]), infinite(inputs["df"]), inputs.alpha, sides, float(inputs.get("rho", 0.5))
    )


def family(name: str, inputs: Inputs) -> Any:
    """Evaluate adjusted p-values by the rule in the name, or how many each rule rejects at q."""
    p = inputs.array("p")
    rules = {
        "simes-hochberg": "hochberg",
        "hommel": "hommel",
        "sidak": "sidak",
        "hochberg": "hochberg",
        "fdr_by": "by",
        "by": "by",
        "fdr_bh": "bh",
        "bh": "bh",
        "bonferroni": "bonferroni",
        "holm": "holm",
    }
    if "q" in inputs:
        level = inputs.number("q")
        return {
            word: float((multiplicity.adjust(p, cast("multiplicity.Rule", rule)) <= level).sum())
            for word, rule in rules.items()
        }
    words = [inputs.method, name.lower()]
    rule = next((rules[word] for said in words for word in rules if word in said), None)
    if rule is None:
        raise ValueError(f"no rule for several p-values is named by {name!r}")
    weights = inputs.array("weights") if "weights" in inputs else None
    return multiplicity.adjust(p, cast("multiplicity.Rule", rule), weights)


def shares(_name: str, inputs: Inputs) -> dict[str, float]:
    """Evaluate the level of each primary and secondary metric."""
    counts = int(inputs["primary"]), int(inputs["secondary"])
    primary, secondary = multiplicity.share_of_level(inputs.alpha, *counts, inputs.number("weight"))
    return {"primary": primary, "secondary": secondary}


def standardised_plan(_name: str, inputs: Inputs) -> float:
    """Evaluate visitors an arm, or the power of n, for a difference in standard deviations."""
    d = inputs.number("d")
    if "n" in inputs:
        return power.power_means(1.0, d, inputs.number("n"), inputs.alpha)
    return power.sample_size_means(1.0, d, inputs.alpha, inputs.power)


def mean_plan(_name: str, inputs: Inputs) -> float:
    """Evaluate visitors an arm, or the power of n, for a difference of means."""
    sd, delta = inputs.number("sd"), inputs.number("delta")
    if "n" in inputs:
        return power.power_means(sd, delta, inputs.number("n"), inputs.alpha)
    return power.sample_size_means(sd, delta, inputs.alpha, inputs.power)


def two_rate_plan(name: str, inputs: Inputs) -> float:
    """Evaluate visitors an arm (Fleiss' correction where the name says cc), or the power of n."""
    p1, p2 = inputs.number("p1"), inputs.number("p2")
    if "n" in inputs:
        return power.power_proportions(p1, p2, inputs.number("n"), inputs.alpha)
    corrected = ("cc" in name.lower().split("_") or bool(inputs.get("cc"))) and "nocc" not in name
    return power.sample_size_proportions(p1, p2 / p1 - 1.0, inputs.alpha, inputs.power, continuity=corrected)


def absolute_plan(_name: str, inputs: Inputs) -> float:
    """Evaluate visitors an arm by Miller's calculator: under the hypothesis both rates are the baseline."""
    p, apart = inputs.number("p"), inputs.number("mde_abs")
    null_sd = np.sqrt(2.0 * p * (1.0 - p))
    sd = np.sqrt(p * (1.0 - p) + (p + apart) * (1.0 - p - apart))
    reach = -special.ndtri(inputs.alpha / 2.0) * null_sd + special.ndtri(inputs.power) * sd
    return float((reach / apart) ** 2)


def rule_of_sixteen(_name: str, inputs: Inputs) -> float:
    """Evaluate 16 sigma^2 / delta^2 (Kohavi et al. 2009) for a mean or a rate."""
    if "p" in inputs:
        mean, variance = inputs.number("p"), inputs.number("p") * (1.0 - inputs.number("p"))
    else:
        mean, variance = inputs.number("mean"), inputs.number("sd") ** 2
    return 16.0 * variance / (mean * inputs.number("rel")) ** 2


def farrington_manning(_name: str, inputs: Inputs) -> Any:
    """Evaluate visitors of arm 1 and 2 that show p1 - p2 above a margin; their sum where one is expected."""
    p1, p2, margin = (inputs.number(key) for key in ("p1", "p2", "delta0"))
    alpha = float(inputs.get("alpha_one", inputs.alpha))
    ratio = float(inputs.get("ratio", 1.0))
    if p1 - p2 > margin:
        n1, n2 = power.sample_size_non_inferiority(p2, p1, margin, alpha, inputs.power, ratio)
    else:
        n2, n1 = power.sample_size_non_inferiority(p1, p2, -margin, alpha, inputs.power, 1.0 / ratio)
    both = [n1, n2]
    return {"n1": n1, "n2": n2, "total": n1 + n2, "main": lambda e: both if isinstance(e, list) else n1 + n2}
