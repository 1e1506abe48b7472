# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much what was measured speaks for one cause.

Where a cause has frames, they are asked for first: alone they give ``suspected``; with a counter (or a line of the kernel log), the causal
test or a decisive trigger ``probable``; with a counter and, where there is one, the test ``confirmed``. A cause without frames is
``suspected`` by one kind of evidence and ``probable`` by two. What was measured and speaks against it leaves ``suspected`` at most.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ansible_collections.fleet.stall.plugins.plugin_utils.case import Case, version
from ansible_collections.fleet.stall.plugins.plugin_utils.cause import Cause, Measure, Pattern, Trigger
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable
from ansible_collections.fleet.stall.plugins.plugin_utils.wording import number

SUSPECTED, PROBABLE, CONFIRMED = 1, 2, 3
CONFIDENCE = {SUSPECTED: "suspected", PROBABLE: "probable", CONFIRMED: "confirmed"}
# Of the blocker's samples, the share that has to show the signature
FRAMES_SHARE = 0.25
# How much more often the signature is to be met before stalls than in quiet time, and from how many quiet samples on that is asked
TIMES_QUIET = 2.0
QUIET_SAMPLES = 20.0
# d15121be7485: from here on softirqs run at the end of an interrupt, even while ksoftirqd is awake and a task is in a system call
NO_HAND_OFF = (6, 5, 0)
PREEMPTIBLE = ("full", "lazy", "rt")
_MASKING = re.compile(
    r"(?:_raw_|raw_)?(?:spin|read|write)_(?:un)?lock_(?:bh|irq|irqsave|irqrestore)$"
    r"|__?local_bh_(?:enable|disable)|handle_softirqs$|arch_local_irq_|raw_local_irq_"
)


@dataclass(frozen=True, slots=True)
class Weighed:
    """The weight of the evidence for a cause; `share` is that of its frames in the blocker's samples, 0 without.

    `bare`: neither frames nor a decisive counter speak for it, so that it fits other causes as well.
    """

    level: int
    kind: str
    sentences: tuple[str, ...]
    share: float
    frames: int
    symptom: bool
    bare: bool

    @property
    def confidence(self) -> str:
        return CONFIDENCE[self.level]

    def order(self) -> tuple[bool, int, float, int]:
        """Smallest is best."""
        return self.symptom, -self.level, -self.share, -self.frames


def weigh(cause: Cause, case: Case) -> Weighed | None:
    """None where nothing speaks for the cause, or the class of the stalls rules it out."""
    if case.kind is not None and case.kind not in cause.classes:
        return None
    kind = case.kind or " or ".join(cause.classes)
    allowed = _allowed(cause, case, kind)
    if allowed is None:
        return None
    most, says = allowed

    # What another CPU than that of the packets ran kept none of them waiting; an application can wait for any CPU.
    elsewhere = case.on_rx_cpu is False and kind != "R"
    stacks = () if elsewhere else case.stacks
    trigger = None if elsewhere else next((fields for fields in cause.trigger if _agrees(fields, case.trigger)), None)
    share, pattern = _share(cause, stacks)
    if cause.frames and (share < FRAMES_SHARE if stacks else trigger is None):
        return None
    counter = _counter(cause, case)
    line, earlier = _line(cause, case.log), _line(cause, case.log_before)
    tested = case.value(cause.test) if cause.test else None
    passed = None if cause.test is None or tested is None else cause.test.holds(tested)

    side = counter.holds or line is not None
    if cause.frames:
        level = _with_frames(bool(stacks), side, trigger is not None or earlier is not None, passed, cause.test is not None)
    else:
        level = _without_frames(counter, line is not None or earlier is not None, trigger is not None, passed)
    against = (counter.measured and not counter.holds) or passed is False
    if level == 0 or (against and cause.frames and not stacks):
        return None
    if cause.frames and stacks and pattern:
        says.append(
            f"{share:.0%} of the samples of what ran before are in {printable(pattern.text, 160)}{_in_quiet(cause, case, share)[1]}"
        )
    elif cause.frames:
        says.append("no stack of what ran before was captured")
    says += [_trigger_sentence(trigger, case.trigger)] if trigger else []
    says += [counter.sentence] if counter.sentence else []
    if line is not None:
        says.append(f"kernel log: {printable(line, 160)}")
    elif earlier is not None:
        says.append(f"kernel log, in the day before: {printable(earlier, 160)}")
    if cause.test:
        says.append(_test_sentence(cause.test, tested, passed))
    if against:
        most = SUSPECTED

    if weak := _no_hand_off(cause, case, kind, stacks):
        says.append(weak)
        most = SUSPECTED
    if _in_quiet(cause, case, share)[0]:
        level -= 1
    if out := _out_of_range(cause, case):
        says.append(out)
        level -= 1
    level = max(SUSPECTED, min(level, most))
    bare = not cause.frames and not counter.decisive
    return Weighed(level, kind, tuple(dict.fromkeys(says)), share, len(pattern.frames) if pattern else 0, cause.symptom, bare)


def _allowed(cause: Cause, case: Case, kind: str) -> tuple[int, list[str]] | None:
    """The most that the class of the stalls lets it be, and why; None: it rules the cause out."""
    most = SUSPECTED if cause.unconfirmed else CONFIRMED
    if case.kind is None:
        return SUSPECTED, [f"of which class the stalls are is not known: {cause.id} is one of class {kind}"]
    if kind not in cause.only_if:
        return most, []
    wanted = cause.only_if[kind]
    agrees = _agrees(wanted, case.trigger)
    if agrees is None:
        return SUSPECTED, [f"its {' and '.join(wanted)} is not known"]
    return (most, [_trigger_sentence(wanted, case.trigger)]) if agrees else None


def _line(cause: Cause, log: Iterable[str]) -> str | None:
    return next((line for line in log if any(pattern.search(line) for pattern in cause.log)), None)


def behind(found: Iterable[Weighed]) -> list[Weighed]:
    """The same, in their order; what counters and priorities alone suggest is less sure than what a stack shows to have run."""
    rows = list(found)
    shown = max((row.level for row in rows if row.share > 0 and not row.symptom), default=0)
    return [replace(row, level=min(row.level, max(SUSPECTED, shown - 1))) if shown and row.bare else row for row in rows]


def _with_frames(stacks: bool, side: bool, trigger: bool, passed: bool | None, has_test: bool) -> int:
    if not stacks:
        return PROBABLE if side or passed else SUSPECTED
    if side and (passed or not has_test):
        return CONFIRMED
    return PROBABLE if side or passed or trigger else SUSPECTED


@dataclass(frozen=True, slots=True)
class _Counter:
    measured: bool
    holds: bool
    decisive: bool
    sentence: str


def _without_frames(counter: _Counter, line: bool, trigger: bool, passed: bool | None) -> int:
    kinds = counter.holds + counter.decisive + line + trigger
    if passed and kinds:
        return CONFIRMED
    return min(PROBABLE, kinds)


def _counter(cause: Cause, case: Case) -> _Counter:
    measured = [(measure, value) for measure in cause.counters if (value := case.value(measure)) is not None]
    holding = [(measure, value) for measure, value in measured if measure.holds(value)]
    for measure, value in sorted(holding, key=lambda item: not item[0].decisive)[:1]:
        return _Counter(True, True, measure.decisive, f"{measure.means}: {number(value)} ({measure.limit()} speaks for it)")
    for measure, value in [(measure, value) for measure, value in measured if not measure.average][:1]:
        return _Counter(True, False, False, f"against it: {measure.means}: {number(value)} ({measure.limit()} would speak for it)")
    return _Counter(False, False, False, "")


def _share(cause: Cause, stacks: Iterable[tuple[tuple[str, ...], float]]) -> tuple[float, Pattern | None]:
    """The share of the weight that has one of the cause's signatures, and the signature met most."""
    weights: dict[str, list[float]] = {}
    patterns: dict[str, Pattern] = {}
    total = []
    for stack, weight in stacks:
        total.append(weight)
        if found := cause.has(stack):
            patterns[found.text] = found
            weights.setdefault(found.text, []).append(weight)
    whole = math.fsum(total)
    if not weights or whole <= 0:
        return 0.0, None
    most = max(sorted(weights), key=lambda text: math.fsum(weights[text]))
    return math.fsum(weight for found in weights.values() for weight in found) / whole, patterns[most]


def _in_quiet(cause: Cause, case: Case, share: float) -> tuple[bool, str]:
    """Whether the signature is about as frequent in quiet time, and the words that say how frequent it is there."""
    samples = math.fsum(weight for _, weight in case.quiet)
    if not cause.frames or not case.stacks or samples < QUIET_SAMPLES:
        return False, ""
    quiet, _ = _share(cause, case.quiet)
    before, after = share, quiet
    if case.stacks_s and case.quiet_s:
        before = share * math.fsum(weight for _, weight in case.stacks) / case.stacks_s
        after = quiet * samples / case.quiet_s
    often = before < TIMES_QUIET * after
    return often, f", of those in quiet time {quiet:.0%}" + (", which is about as often" if often else "")


def _no_hand_off(cause: Cause, case: Case, kind: str, stacks: Iterable[tuple[tuple[str, ...], float]]) -> str | None:
    """Why a task in the kernel is weak evidence here: on this kernel packets need not wait for it."""
    if kind != "T" or cause.masked or case.handler.startswith("napi/"):
        return None
    preemptible = case.preemption in PREEMPTIBLE
    if not preemptible and (case.kernel is None or case.kernel < NO_HAND_OFF):
        return None
    mine = [(stack, weight) for stack, weight in stacks if cause.has(stack)]
    masked = math.fsum(weight for stack, weight in mine if any(_MASKING.match(frame) for frame in stack))
    if mine and masked >= FRAMES_SHARE * math.fsum(weight for _, weight in mine) > 0:
        return None
    why = f"with preempt={case.preemption}" if preemptible else "from 6.5 on"
    return f"weak: {why} the kernel handles packets during such a call, and nothing shows that softirqs or interrupts were off"


def _out_of_range(cause: Cause, case: Case) -> str | None:
    first, last = version(cause.kernel.get("from")), version(cause.kernel.get("to"))
    if case.kernel is None or ((first is None or case.kernel >= first) and (last is None or case.kernel < last)):
        return None
    known = " ".join(f"{word} {cause.kernel[word]}" for word in ("from", "to") if word in cause.kernel).replace("to ", "before ")
    return f"kernel {'.'.join(map(str, case.kernel))} is not one of those known for it ({known})"


def _agrees(fields: Trigger, trigger: Mapping[str, str]) -> bool | None:
    """None where something that is asked for is not known."""
    known = {name: trigger[name] for name in fields if trigger.get(name)}
    if any(not fields[name].search(value) for name, value in known.items()):
        return False
    return True if len(known) == len(fields) else None


def _trigger_sentence(fields: Trigger, trigger: Mapping[str, str]) -> str:
    who = printable(trigger.get("comm") or "its trigger", 40)
    return f"{who} shows {', '.join(f'{name} {printable(trigger[name], 80)}' for name in fields)}"


def _test_sentence(test: Measure, value: float | None, passed: bool | None) -> str:
    if value is None:
        return f"{test.means}: not done"
    return f"{test.means}: {number(value)} ({test.limit()} {'confirms it' if passed else 'would confirm it'})"
