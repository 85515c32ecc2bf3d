"""What the tallies must be, computed the slow and obvious way from the whole log at once.

Shares no code with the projections: it reads no tables, keeps every event in a list and counts.
"""

import json
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from domain.events import ExperimentCreated, ExperimentStarted, ExperimentStopped, VariantWeightsChanged
from tests.projections.log_of_events import Seen

_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


class Expected:
    """The tallies of one experiment that a log implies."""

    def __init__(self, log: list[Any], experiment_id: UUID) -> None:
        """`log` is the list of facts and events in the order of their positions."""
        self._read_facts(log, experiment_id)
        events = [
            (at, entry) for at, entry in enumerate(log, 1) if isinstance(entry, Seen) and at > self.created_at
        ]
        self._expose([(at, event) for at, event in events if event.event_type == "experiment_impression"])
        self._convert([(at, event) for at, event in events if event.event_type != "experiment_impression"])

    def _read_facts(self, log: list[Any], experiment_id: UUID) -> None:
        self.epochs: list[tuple[int, datetime]] = []
        self.started_at = self.stopped_at = None
        self.created_at = len(log)
        self.known: dict[UUID, int] = {}
        self.log = log
        for at, fact in enumerate(log, 1):
            if isinstance(fact, ExperimentCreated):
                self.known[fact.experiment_id] = at
            if getattr(fact, "experiment_id", None) != experiment_id:
                continue
            if isinstance(fact, ExperimentCreated):
                self.created_at, self.plan = at, fact
                self.variants = {variant.id for variant in fact.variants}
            if isinstance(fact, ExperimentStarted):
                self.started_at = at
            if isinstance(fact, ExperimentStopped):
                self.stopped_at = at
            if isinstance(fact, ExperimentStarted | VariantWeightsChanged):
                self.epochs.append((at, fact.at))

    def _epoch(self, at: int, time: datetime) -> int:
        known = [number for number, (since, _) in enumerate(self.epochs, 1) if since < at]
        begun = [number for number in known if self.epochs[number - 1][1] <= time]
        return max(begun) if begun else min(known, default=0)

    def _expose(self, impressions: list[tuple[int, Seen]]) -> None:
        self.impressions: Counter[UUID] = Counter()
        self.reasons: Counter[str] = Counter()
        seen: dict[str, list[tuple[int, Seen]]] = defaultdict(list)
        for at, event in impressions:
            if event.experiment == self.plan.experiment_id and event.variant in self.variants:
                self.impressions[event.variant] += 1
                if event.visitor is not None:
                    seen[event.visitor].append((at, event))
            elif event.experiment == self.plan.experiment_id:
                self.reasons["unknown_variant"] += 1
        self.exposed: dict[str, tuple[UUID, datetime, int, bool]] = {}
        for visitor, views in seen.items():
            at, first = min(views, key=lambda view: (view[1].occurred_at, view[1].variant, view[0]))
            several = len({event.variant for _, event in views}) > 1
            self.exposed[visitor] = (
                first.variant,
                first.occurred_at,
                self._epoch(at, first.occurred_at),
                several,
            )
        self.visitors: Counter[tuple[UUID, int]] = Counter()
        self.multiple: Counter[tuple[UUID, int]] = Counter()
        for variant, _, epoch, several in self.exposed.values():
            (self.multiple if several else self.visitors)[variant, epoch] += 1

    def _convert(self, events: list[tuple[int, Seen]]) -> None:
        achieved: dict[tuple[str, UUID, str], list[Fraction]] = defaultdict(list)
        for at, event in events:
            unit = event.visitor if event.visitor is not None else f"event {at}"
            goals = [goal for goal in self.plan.goals if self._matches(goal, event)]
            variant, reason = self._attribute(at, event, unit, named=bool(goals))
            if reason:
                self.reasons[reason] += 1
            if variant is None:
                continue
            for goal in goals:
                amount = self._amount(goal, event)
                if amount is None:
                    self.reasons["value_not_usable"] += 1
                else:
                    achieved[goal.name, variant, unit].append(amount)
        self.goals: dict[tuple[str, UUID], list[Fraction]] = defaultdict(list)
        self.conversions: Counter[tuple[str, UUID]] = Counter()
        kinds = {goal.name: goal.kind for goal in self.plan.goals}
        for (goal, variant, _), amounts in achieved.items():
            self.conversions[goal, variant] += len(amounts)
            self.goals[goal, variant].append(Fraction(1) if kinds[goal] == "conversion" else sum(amounts))

    def _attribute(self, at: int, event: Seen, unit: str, *, named: bool) -> tuple[UUID | None, str | None]:
        exposure = self.exposed.get(unit)
        if event.experiment is not None or event.variant is not None:
            if event.experiment != self.plan.experiment_id:
                return None, None
            if event.variant not in self.variants:
                return None, "unknown_variant"
            if not named:
                return None, "no_matching_goal"
            if exposure is None:
                return event.variant, None
            if exposure[3]:
                return None, "multiple_exposures"
            return (event.variant, None) if exposure[0] == event.variant else (None, "contradicts_exposure")
        if not named:
            return None, None
        if exposure is None:
            running = self.started_at is not None and at > self.started_at
            running = running and (self.stopped_at is None or at < self.stopped_at)
            return None, "not_exposed" if running else None
        variant, since, _, several = exposure
        if several:
            return None, "multiple_exposures"
        if event.occurred_at < since:
            return None, "before_exposure"
        if event.occurred_at >= since + timedelta(hours=self.plan.attribution_window_hours):
            return None, "outside_window"
        return variant, None

    def _matches(self, goal: Any, event: Seen) -> bool:
        return goal.event_type == event.event_type and goal.event_name in {None, event.event_name}

    def _amount(self, goal: Any, event: Seen) -> Fraction | None:
        if goal.kind != "value":
            return Fraction(1)
        raw = json.loads(event.data or "{}", parse_float=str, parse_int=str).get(goal.value_field)
        if not isinstance(raw, str) or not _NUMBER.fullmatch(raw):
            return None
        amount = Fraction(raw)
        return amount if abs(amount) < 10**15 else None
