"""Which formula a vector's inputs call for; a family is told by the names of its inputs, then by its name."""

from collections.abc import Callable
from typing import Any, TypeAlias

from stats.reference import monitoring, pairs, planning, rates
from stats.reference.inputs import Inputs

Evaluator: TypeAlias = Callable[[str, Inputs], Any]
Predicate: TypeAlias = Callable[[str, Inputs], bool]


def evaluate(name: str, inputs: dict[str, Any]) -> Any:
    """Evaluate a vector; a dict holds every number the family knows. Raises ValueError for no family."""
    known = Inputs(inputs)
    for belongs, evaluator in _FAMILIES:
        if belongs(name, known):
            return evaluator(name, known)
    raise ValueError(f"no family has the inputs {sorted(inputs)}")


def _has(*keys: str) -> Predicate:
    return lambda _name, inputs: all(key in inputs for key in keys)


def _pair_has(*keys: str) -> Predicate:
    def belongs(_name: str, inputs: Inputs) -> bool:
        arms = inputs.get("control"), inputs.get("treatment")
        return all(isinstance(arm, dict) and all(key in arm for key in keys) for arm in arms)

    return belongs


def _both(*predicates: Predicate) -> Predicate:
    return lambda name, inputs: all(each(name, inputs) for each in predicates)


def _named(*words: str) -> Predicate:
    return lambda name, _inputs: any(word in name for word in words)


# The first that fits is taken: special ones stand before general ones.
_FAMILIES: list[tuple[Predicate, Evaluator]] = [
    (_has("x1", "n1", "x2", "n2", "delta"), rates.restricted),
    (_has("x1", "n1", "x2", "n2"), rates.two_rates),
    (_has("x", "n"), rates.one_rate),
    (_has("z", "K"), monitoring.repeated_looks),
    (_has("z"), rates.tail),
    (_pair_has("quantile_hat"), pairs.quantile_pair),
    (_both(_pair_has("sum_x"), _has("margin")), pairs.not_worse),
    (_both(_pair_has("sum_x"), _has("low", "high")), pairs.equivalent),
    (_both(_pair_has("sum_x"), _named("ratio")), pairs.ratio_metric),
    (_both(_has("control", "treatment"), _named("ratio_metric", "ratio_of_means")), pairs.ratio_metric),
    (_pair_has("sum_x"), pairs.adjusted),
    (_has("control", "treatment", "prior"), pairs.bayes),
    (_has("control", "treatment", "n_star"), pairs.always_valid),
    (_both(_has("control", "treatment"), _has("margin")), pairs.not_worse),
    (_both(_has("control", "treatment"), _has("low", "high")), pairs.equivalent),
    (_pair_has("x", "n"), rates.pair),
    (_pair_has("n", "sum", "sumsq"), pairs.welch),
    (_has("epochs"), pairs.epochs),
    (_has("m1", "s1", "n1", "m2"), pairs.t_from_moments),
    (_has("alphaA", "betaA", "alphaB", "betaB"), pairs.betas),
    (_has("offset", "seed"), pairs.offset_variance),
    (_both(_has("mean", "sd"), _has("rel")), planning.rule_of_sixteen),
    (_both(_has("p", "rel"), lambda _n, inputs: "power" not in inputs), planning.rule_of_sixteen),
    (_has("mean", "sd"), pairs.best_of),
    (_has("s", "v", "v_opt"), monitoring.log_mixture),
    (_has("v", "v_opt"), monitoring.mixture_bound),
    (_has("K", "beta"), monitoring.design_cost),
    (_both(_has("K"), _named("peek", "armitage")), monitoring.repeated_looks),
    (_has("info"), monitoring.spending_bounds),
    (_both(_has("K"), _named("hsd", "lan_demets", "spending", "hwang")), monitoring.spending_bounds),
    (_has("K"), monitoring.classic_bounds),
    (_has("observed", "weights"), monitoring.chi_square),
    (_has("rows", "theta0"), monitoring.unit_sequence),
    (_has("seed", "theta", "theta0"), monitoring.drawn_sequence),
    (_has("counts", "theta0"), monitoring.log_bayes_factor),
    (_has("k", "df"), planning.dunnett_value),
    (_has("primary", "secondary", "weight"), planning.shares),
    (_has("p1", "p2", "delta0"), planning.farrington_manning),
    (_has("p1", "p2"), planning.two_rate_plan),
    (_has("p", "mde_abs"), planning.absolute_plan),
    (_has("p"), planning.family),
    (_has("d"), planning.standardised_plan),
    (_has("delta", "sd"), planning.mean_plan),
    (_has("rho"), pairs.variance_left),
    (_has("n_star", "n"), monitoring.mixture_multiplier),
    (_has("n_star"), monitoring.mixing_weight),
]
