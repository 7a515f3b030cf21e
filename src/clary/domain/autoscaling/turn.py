"""One turn of a scalable target: its scheduled actions, its range, its policies, and the activity that is under way. Pure.

A further type of policy is a function in `autoscaling_policies.py` and a case in `_opinion`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.domain import schedules
from clary.domain.autoscaling import decision_records
from clary.domain.autoscaling.activity import (
    SOON,
    ActivityNote,
    Command,
    Forget,
    SeenTarget,
    TargetTurn,
    Want,
    anchored,
    change_of,
    entry_of,
    follow,
    overtaken,
    start,
)
from clary.domain.autoscaling.alarms import LOW_SHARE, cooldown, lost
from clary.domain.autoscaling.policies import COOLING, NO_STEP, Wanted, step_again, tracking
from clary.domain.autoscaling.record import STEP, TRACKING, activity_id
from clary.domain.decisions import Decision
from clary.domain.resources import Record

MISSED_AGAIN = 3600.0  # seconds until it is told again that a policy's own alarm is gone
SETTLE = 0.6  # seconds after a step's end when alarms were evaluated
_UNSCALABLE = "TargetServicePutResourceAsUnscalable"


def decide(record: Record, seen: SeenTarget, now: float) -> Decision[Command]:
    if seen.capacity is None:
        return Decision(record, (Forget(),), remove=True)
    turn = TargetTurn(record, anchored(record.document, now), seen, seen.capacity, now)
    _prune(turn)
    _miss(turn)
    _run_actions(turn)
    if turn.document["activity"] is not None:
        if not overtaken(turn):
            follow(turn)
    elif now < turn.document.get("retry", 0.0):
        turn.again.append(turn.document["retry"] - now)
    elif not _pull(turn):
        _weigh(turn)
    return turn.decided()


def _prune(turn: TargetTurn) -> None:
    """Alarms that left the state in which they drive a policy are none of ours any more."""
    triggers = turn.document["triggers"]
    kept = {n: t for n, t in triggers.items() if n in turn.seen.heard and t["policy"] in turn.seen.policies}
    for name in turn.seen.silent & triggers.keys():
        policy = turn.seen.policies.get(triggers[name]["policy"])
        if policy is not None:
            _tell(
                turn,
                f"monitor alarm {name} in state INSUFFICIENT_DATA",
                why := "the metric has no datapoints: capacity stays",
                [],
            )
            held = decision_records.decided(turn, policy["request"]["PolicyName"], turn.capacity.desired, why, (), why)
            turn.commands.append(held)
    if kept != triggers:
        turn.document["triggers"] = kept
        for member in ("acted", "said"):
            turn.document[member] = {name: value for name, value in turn.document[member].items() if name in kept}


def _miss(turn: TargetTurn) -> None:
    """A target tracking policy is half of what it was without one of its alarms, as on AWS; here somebody says so, and says it again."""
    told = turn.document.get("missed", {})
    kept = {name: at for name, at in told.items() if name in turn.seen.missing}
    for alarm, arn in turn.seen.missing.items():
        policy = turn.seen.policies.get(arn)
        if policy is None or turn.now - kept.get(alarm, -MISSED_AGAIN) < MISSED_AGAIN:
            continue
        name = policy["request"]["PolicyName"]
        why = lost(name, alarm)
        if alarm not in kept:
            _tell(turn, f"monitor alarm {alarm} was deleted", why, [])
        turn.commands.append(decision_records.decided(turn, name, turn.capacity.desired, why, (), "its alarm is gone"))
        kept[alarm] = turn.now
    if kept != told:
        turn.document["missed"] = kept


# -- the range, and schedules that change it --------------------------------------------------------------------------------------


def _pull(turn: TargetTurn) -> bool:
    """Whether the capacity is outside of its range, so that nothing else counts."""
    low, now = max(turn.document["min"], turn.capacity.floor), turn.capacity.desired
    high = max(turn.document["max"], low)
    if low <= now <= high:
        return False
    if not turn.capacity.settled:
        turn.again.append(SOON)
        return True
    to, cause = (low, _least(turn, low)) if now < low else (high, f"maximum capacity was set to {high}")
    turn.commands.append(decision_records.ranged(turn, turn.document["cause"] or cause, to))
    start(turn, to, turn.document["cause"] or cause, f"capacity {now} is outside of {low} to {high}")
    return True


def _least(turn: TargetTurn, low: int) -> str:
    return (
        f"minimum capacity was set to {low}" if turn.document["min"] == low else "nothing would start it again from 0"
    )


def _run_actions(turn: TargetTurn) -> None:
    for name, action in turn.seen.actions.items():
        due = _due(turn, name, action)
        if due is not None and due <= turn.now:
            turn.document["ran"] = {**turn.document["ran"], name: turn.now}
            if schedules.is_once(action["request"]["Schedule"]):
                turn.document["spent"] = {**turn.document.get("spent", {}), name: action["at"]}
            if not turn.document["suspended"]["ScheduledScalingSuspended"]:
                _run_action(turn, name, action["request"])
            due = _due(turn, name, action)
        if due is not None:
            turn.again.append(min(due - turn.now, 3600.0))
    for member in ("ran", "spent"):
        held = turn.document.get(member, {})
        if held.keys() - turn.seen.actions.keys():
            turn.document[member] = {name: at for name, at in held.items() if name in turn.seen.actions}


def _due(turn: TargetTurn, name: str, action: Mapping[str, Any]) -> float | None:
    """When it is next due; None: never again. What runs at a time did so once for each PutScheduledAction, whatever the clock says
    since: that it was put again, not that its hour comes again, is what makes it run again."""
    request = action["request"]
    if turn.document.get("spent", {}).get(name) == action["at"]:
        return None
    begin = float(request.get("StartTime") or action["at"])
    moment = max(turn.document["ran"].get(name, action["at"]), begin - 0.001)
    due = schedules.parse(request["Schedule"], request.get("Timezone", "")).after(moment, begin)
    end = request.get("EndTime")
    return None if due is None or (end and due > float(end)) else due


def _run_action(turn: TargetTurn, name: str, request: Mapping[str, Any]) -> None:
    asked = request["ScalableTargetAction"]
    low, high = asked.get("MinCapacity"), asked.get("MaxCapacity")
    words = " and ".join(
        f"{which} capacity to {value}" for which, value in (("min", low), ("max", high)) if value is not None
    )
    cause = f"scheduled action name {name} was triggered"
    count = turn.document["count"] + 1
    activity = {
        "id": activity_id(turn.record, count),
        "description": f"Setting {words}",
        "cause": cause,
        "start": turn.now,
    }
    turn.document["count"] = count
    wanted = (turn.document["min"] if low is None else low), (turn.document["max"] if high is None else high)
    if wanted[0] > wanted[1]:
        why = f"Maximum capacity cannot be less than minimum capacity ({wanted[1]} is less than {wanted[0]})."
        turn.commands.append(entry_of(turn, activity, "Failed", f"Failed to set {words}. Reason: {why}", True))
        return
    turn.document |= {"min": wanted[0], "max": wanted[1], "cause": cause}
    turn.commands.append(entry_of(turn, activity, "Successful", f"Successfully set {words}", True))
    turn.commands.append(decision_records.ranged(turn, cause, turn.capacity.desired))


# -- policies ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What one alarm's policy wants; without an alarm, what the latency objective does. `state` is the one in which the alarm drives it."""

    alarm: str
    policy: Mapping[str, Any]
    wanted: Wanted
    state: str = "ALARM"

    @property
    def name(self) -> str:
        return str(self.policy["request"]["PolicyName"])

    @property
    def cause(self) -> str:
        if not self.alarm:
            return f"latency objective of policy {self.name}"
        return f"monitor alarm {self.alarm} in state {self.state} triggered policy {self.name}"


def _weigh(turn: TargetTurn) -> None:
    """The largest capacity that a policy wants; less than there is only when all agree."""
    if not turn.document["triggers"] and not turn.seen.wish:
        return
    turn.again += [math.floor(turn.now / s + 1) * s + SETTLE - turn.now for s in set(turn.seen.steps.values())]
    opinions, ready = _opinions(turn)
    current = turn.capacity.desired
    turn.candidates = [decision_records.term(o.name, o.wanted, turn.seen.heard.get(o.alarm), current) for o in opinions]
    outs = [o for o in ready if o.wanted.capacity is not None and o.wanted.capacity > current]
    ins = [o for o in ready if o.wanted.capacity is not None and o.wanted.capacity < current]
    if any(o.wanted.why == COOLING for o in opinions):  # else both would turn it each few seconds
        ins = [o for o in ins if o.alarm]
    if outs:
        _scale_out(turn, max(outs, key=lambda o: o.wanted.capacity or 0))
    elif ins:
        _scale_in_unless_held(turn, opinions, ins)
    for each in ready:
        if turn.document["activity"] is None and each.alarm and each not in (*outs, *ins):
            code = each.wanted.code or ("AlreadyAtDesiredCapacity" if each.wanted.capacity == current else "")
            _say(turn, each, _edge(turn, each) or code, each.wanted.why)


def _opinions(turn: TargetTurn) -> tuple[list[_Opinion], list[_Opinion]]:
    """What all want, and those of them that may act now: an alarm acts once in each of its steps."""
    opinions = [_opinion(turn, alarm, trigger["policy"]) for alarm, trigger in turn.document["triggers"].items()]
    ready = [o for o in opinions if turn.now >= turn.document["acted"].get(o.alarm, 0.0) + turn.seen.steps[o.alarm]]
    current, wish = turn.capacity.desired, turn.seen.wish
    # each wish is acted on once: what it was from may come back for another reason
    if wish and wish["from"] == current and wish["at"] != turn.document.get("wished"):
        wished = _wish(wish)
        return [*opinions, wished], [*ready, wished]
    if turn.seen.keeps and not wish:
        opinions.append(_keeps(turn.seen.keeps, current))
    return opinions, ready


def _scale_in_unless_held(turn: TargetTurn, opinions: list[_Opinion], ins: list[_Opinion]) -> None:
    held = next((opinion for opinion in opinions if _holds_up(turn, opinion)), None)
    if held is None:
        _scale_in(turn, ins)
    elif not held.alarm:
        for each in ins:
            why = f"{held.cause} needs all {turn.capacity.desired}"
            _say(turn, each, "AutoScalingAnticipatedFlapping", why)


def _holds_up(turn: TargetTurn, opinion: _Opinion) -> bool:
    """Whether it wants more, or what there is because its metric is high: nothing is scaled in then."""
    wanted, current = opinion.wanted.capacity, turn.capacity.desired
    if wanted is None:
        return False
    return wanted > current or (wanted == current and (not opinion.alarm or turn.seen.heard[opinion.alarm].above))


def _wish(wish: Mapping[str, Any]) -> _Opinion:
    request = {"PolicyName": wish["policy"], "PolicyType": TRACKING}
    return _Opinion("", {"request": request}, Wanted(int(wish["to"]), wish["why"]))


def _keeps(policy: str, current: int) -> _Opinion:
    """A latency objective that needs what there is."""
    request = {"PolicyName": policy, "PolicyType": TRACKING}
    return _Opinion("", {"request": request}, Wanted(current, "all of the current capacity is needed"))


def _opinion(turn: TargetTurn, alarm: str, arn: str) -> _Opinion:
    policy, heard, current = turn.seen.policies[arn], turn.seen.heard[alarm], turn.capacity.desired
    request = policy["request"]
    match request.get("PolicyType") or STEP:
        case kind if kind == TRACKING:
            target = heard.threshold if heard.above else heard.threshold / LOW_SHARE
            wanted = tracking(heard, current, target, change_of(turn, "last"))
        case _ if heard.answered(change_of(turn, "last")):
            wanted = Wanted(None, "no datapoints since the last change: capacity stays")
        case _:
            config = request["StepScalingPolicyConfiguration"]
            wanted = step_again(heard, config, current, change_of(turn, "out"), turn.now)
    return _Opinion(alarm, policy, wanted, turn.document["triggers"][alarm]["state"])


def _scale_out(turn: TargetTurn, opinion: _Opinion) -> None:
    current, wanted = turn.capacity.desired, opinion.wanted.capacity or 0
    to = min(wanted, turn.document["max"])
    if turn.document["suspended"]["DynamicScalingOutSuspended"]:
        return
    room = turn.seen.room
    if to <= current:
        _say(turn, opinion, "AlreadyAtMaxCapacity", opinion.wanted.why)
    elif room is not None and room.most <= current:
        _lack(turn, opinion, to, room.why)
    elif room is not None and room.most < to:
        why = f"{opinion.wanted.why}; {to} are wanted, and there is room for {room.most}: {room.why}"
        clipped = replace(opinion, wanted=replace(opinion.wanted, why=why))
        _go(turn, clipped, room.most, "ScaleOutCooldown")
    else:
        _go(turn, opinion, to, "ScaleOutCooldown")


def _lack(turn: TargetTurn, opinion: _Opinion, to: int, why: str) -> None:
    """No room: nothing is asked that would be refused. What comes free is kept for it, and looked for at the alarm's next step."""
    before, told = turn.document["said"].get(opinion.alarm), f"there is no room on this machine for more: {why}"
    _say(turn, opinion, _UNSCALABLE, told)
    turn.commands.append(Want(told, before != _UNSCALABLE, to))
    if not opinion.alarm:
        turn.document["lacks"] = {"why": why, "at": turn.now}


def _scale_in(turn: TargetTurn, ins: list[_Opinion]) -> None:
    last, current = change_of(turn, "in"), turn.capacity.desired
    if turn.document["suspended"]["DynamicScalingInSuspended"]:
        return
    if last is not None and last.cools(turn.now):
        turn.again.append(last.at + last.cooldown - turn.now)
        return
    if not _agreed(turn, ins):
        ins = [o for o in ins if o.policy["request"].get("PolicyType") != TRACKING]
    if not ins:
        return
    opinion = max(ins, key=lambda o: o.wanted.capacity or 0)
    to = max(opinion.wanted.capacity or 0, turn.document["min"], turn.capacity.floor)
    if to >= current:
        _say(turn, opinion, "AlreadyAtMinCapacity", opinion.wanted.why)
    else:
        _go(turn, opinion, to, "ScaleInCooldown")


def _agreed(turn: TargetTurn, ins: list[_Opinion]) -> bool:
    """Whether every target tracking policy that scales in wants to. A policy whose metric has no datapoints does not."""
    wanting = {o.policy["request"]["PolicyName"] for o in ins}
    for policy in turn.seen.policies.values():
        request = policy["request"]
        config = request.get("TargetTrackingScalingPolicyConfiguration")
        if config and not config.get("DisableScaleIn") and request["PolicyName"] not in wanting:
            return False
    return True


def _go(turn: TargetTurn, opinion: _Opinion, to: int, member: str) -> None:
    if not turn.capacity.settled:
        _say(turn, opinion, _UNSCALABLE, f"the resource is {turn.capacity.status}")
        turn.again.append(SOON)
        return
    if not opinion.alarm:
        start(turn, to, opinion.cause, opinion.wanted.why, steady=True)
        turn.document |= {"lacks": None, "wished": turn.seen.wish["at"] if turn.seen.wish else None}
        return
    request = opinion.policy["request"]
    tracked = request.get("TargetTrackingScalingPolicyConfiguration")
    if tracked:
        cooling = cooldown(tracked, member, turn.seen.timing)
    else:
        cooling = cooldown(request["StepScalingPolicyConfiguration"], "Cooldown", turn.seen.timing)
    turn.commands.append(decision_records.decided(turn, opinion.name, to, opinion.wanted.why, turn.candidates))
    start(turn, to, opinion.cause, opinion.wanted.why, cooling, opinion.alarm)


def _edge(turn: TargetTurn, opinion: _Opinion) -> str:
    """Whether it would go on where the range ends."""
    if not opinion.alarm:
        return ""
    current, above = turn.capacity.desired, turn.seen.heard[opinion.alarm].above
    if opinion.wanted.capacity is None and opinion.wanted.code in ("", NO_STEP):
        return ""
    if above and current >= turn.document["max"]:
        return "AlreadyAtMaxCapacity"
    return "AlreadyAtMinCapacity" if not above and current <= turn.document["min"] else ""


def _say(turn: TargetTurn, opinion: _Opinion, code: str, why: str) -> None:
    """Tell why nothing is done, once for each reason in a row."""
    if not code or turn.document["said"].get(opinion.alarm) == code:
        return
    turn.document["said"] = {**turn.document["said"], opinion.alarm: code}
    reason: dict[str, Any] = {"Code": code}
    if code == "AlreadyAtMaxCapacity":
        reason["MaxCapacity"] = turn.document["max"]
    elif code == "AlreadyAtMinCapacity":
        reason["MinCapacity"] = turn.document["min"]
    elif code != _UNSCALABLE:
        reason["CurrentCapacity"] = turn.capacity.desired
    _tell(turn, opinion.cause, why, [reason] if code != NO_STEP else [])
    to = turn.capacity.desired
    turn.commands.append(decision_records.decided(turn, opinion.name, to, why, turn.candidates, code))


def _tell(turn: TargetTurn, cause: str, why: str, reasons: list[dict[str, Any]]) -> None:
    """Keep that nothing was changed."""
    count = turn.document["count"] + 1
    turn.document["count"] = count
    id = activity_id(turn.record, count)
    activity = {
        "id": id,
        "description": "Attempting to scale due to alarm triggered",
        "cause": cause,
        "start": turn.now,
        "details": why,
    }
    note = entry_of(turn, activity, "Failed", f"Nothing was changed: {why}.", True)
    told = {"NotScaledReasons": reasons} if reasons else {}
    turn.commands.append(ActivityNote(id, {**note.entry, **told, "scaled": "no"}))
