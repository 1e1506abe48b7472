# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a directory of foreign logs to findings, as far as they carry. What no log can say is null, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from statistics import median
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import cases, ranking
from ansible_collections.fleet.stall.plugins.plugin_utils.findings import SCHEMA_VERSION
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import capture, host_row, sawtooth, suspect, targets
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.hping import Probes
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.logs import FACTS, PROBES, Log, Logs
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.suspect import Suspicion
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.timing import Facts
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.ways import UNNAMED, View
from ansible_collections.fleet.stall.plugins.plugin_utils.text import and_more, printable

# hping3 -i u10000, which the article and this project use
USUAL_INTERVAL_MS = 10.0
Match = Callable[[dict[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """``host``, ``kernel``: of the variables stall_logs_host and stall_logs_kernel, empty where not set."""

    run: str
    threshold_ms: float
    grades: Mapping[str, float]
    host: str = ""
    kernel: str = ""


def findings(logs: Logs, asked: Asked, match: Match, now: float) -> dict[str, Any]:
    """The findings of the logs of one host, with a row for each other host that was probed.

    :param match: a case -> the causes that it can have (causes.match)
    :param now: seconds since the epoch, of the import
    """
    facts = _facts(logs)
    named = asked.host or logs.about.host or facts.host
    views, warnings = _views(logs, asked.threshold_ms)
    host, views, of_several = targets.settle(logs, views, named)
    others = sorted({view.target for view in views} - {host})
    found = suspect.look([view for view in views if view.target == host], logs.logs)
    kernel = asked.kernel or logs.about.kernel or facts.kernel
    judged = [host_row.of(other, views, Suspicion(), asked.grades) for other in others]
    if named or not others or len(views) < len(logs.logs) or any(view.target == host for view in views):
        row = host_row.of(host, views, found, asked.grades)
        _attribute(row, found, facts, kernel, views, match)
        judged.insert(0, row)
    hosts = ranking.ranked(judged)
    return {
        "schema_version": SCHEMA_VERSION,
        "run": _run(logs, views, hosts, asked, now),
        "hosts": hosts,
        "coincident": [],
        "warnings": [*logs.warnings, *of_several, *warnings],
    }


def _facts(logs: Logs) -> Facts:
    facts = Facts(live=logs.about.live, dying=logs.about.dying)
    for log in logs.of(FACTS):
        facts.add(log.content)
    for log in logs.logs:
        facts.add(log.facts)
    return facts


def _views(logs: Logs, threshold_ms: float) -> tuple[list[View], list[str]]:
    """Each log of probes with its stalls; the target as about.yml names it, else empty."""
    told = {log.name: _interval_ms(log, logs) for log in logs.of(PROBES)}
    known = [interval for interval in told.values() if interval]
    guess = round(median(known), 3) if known else USUAL_INTERVAL_MS
    views, warnings = [], []
    unknown = [log.name for log in logs.of(PROBES) if not told[log.name] and log.content.numbers]
    if unknown:
        why = "as in the others" if known else "as with hping3 -i u10000"
        warnings.append(
            f"the interval between probes is not known for {and_more(unknown, 5)}: {guess:g} ms is taken, {why}; about.yml may say it"
        )
    for log in logs.of(PROBES):
        if log.content.corrected:
            warnings.append(
                f"{printable(log.name, 80)}: {log.content.corrected} replies that hping3 shows a second too long were put right"
            )
        if log.content.doubtful:
            warnings.append(
                f"{printable(log.name, 80)}: {log.content.doubtful} lone replies of a second and more are left out: hping3 may add one"
            )
    for number, log in enumerate(logs.of(PROBES), 1):
        views.append(_view(number, log, told[log.name], guess, threshold_ms, logs))
    return views, warnings


def _interval_ms(log: Log, logs: Logs) -> float | None:
    probes: Probes = log.content
    return log.said.interval_ms or probes.timed_ms or probes.interval_ms or logs.about.interval_ms or probes.tells_interval()


def _view(number: int, log: Log, told: float | None, guess: float, threshold_ms: float, logs: Logs) -> View:
    probes: Probes = log.content
    interval = told or guess
    stalls = tuple(sawtooth.find(probes, interval, threshold_ms))
    sent = probes.sent if probes.sent is not None else probes.spanned if probes.whole else None
    source = log.said.source or UNNAMED
    layer = log.said.layer
    if layer == "node" and source in logs.about.outside:
        layer = "outside"
    hidden = probes.longest_ms if probes.longest_ms is not None and probes.longest_ms >= threshold_ms and not stalls else None
    return View(
        number=number,
        log=log.name,
        source=source,
        target=log.said.target or "",
        layer=layer,
        protocol=probes.protocol,
        stalls=stalls,
        probes=sent if sent is not None else _least_sent(probes),
        interval_ms=interval,
        whole=probes.whole,
        sent=sent,
        received=probes.received if probes.received is not None else len(probes.numbers) if probes.whole else None,
        observed_s=round(sent * interval / 1000, 3) if told and sent and probes.whole else None,
        shortest_ms=min(probes.rtts, default=None),
        hidden_ms=hidden,
    )


def _least_sent(probes: Probes) -> int:
    """Probes are counted from 0 or 1: so many were sent before the last reply that is in the log."""
    return sum(max(numbers) + 1 for numbers, _rtts in probes.parts())


def _attribute(row: dict[str, Any], found: Suspicion, facts: Facts, kernel: str | None, views: Sequence[View], match: Match) -> None:
    """What the other logs add to the row of the host they are of."""
    causes = cases.likeliest([(_case(found, facts, kernel), found.culprit)], match) if found.culprit else []
    row["causes"] = causes
    row["remedies"] = cases.remedies(causes)
    row["trigger"] = capture.trigger(found.culprit)
    row["capture"] = capture.part(found, causes, facts, kernel)


def _case(found: Suspicion, facts: Facts, kernel: str | None) -> dict[str, Any]:
    culprit = found.culprit
    assert culprit is not None
    handlers = list(found.joined.handled.values()) if found.joined else []
    return {
        "class": culprit.klass,
        "stacks": [[stack, ms] for stack, ms in culprit.stacks],
        "quiet": [[stack, weight] for stack, weight in found.quiet[: cases.QUIET_STACKS]],
        "stacks_s": None,
        "quiet_s": None,
        "trigger": {"comm": culprit.comm, "pid": culprit.pid, "syscall": culprit.syscall, "path": culprit.path, "buffer": culprit.buffer},
        "on_rx_cpu": found.on_rx_cpu,
        "cpu": culprit.cpus[0] if culprit.cpus else None,
        "handler": handlers[0].handler.comm if handlers else None,
        "preemption": None,
        "kernel": kernel,
        "log": [],
        "facts": facts.named(),
    }


def _run(logs: Logs, views: Sequence[View], hosts: Sequence[Mapping[str, Any]], asked: Asked, now: float) -> dict[str, Any]:
    at = f"{datetime.fromtimestamp(now, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    observed = [view.observed_s for view in views]
    intervals = sorted({view.interval_ms for view in views})
    return {
        "id": asked.run,
        "started_at": at,
        "finished_at": at,
        "parameters": {
            "window_s": round(sum(s for s in observed if s), 3) if observed and all(observed) else None,
            "interval_ms": intervals[0] if len(intervals) == 1 else None,
            "threshold_ms": asked.threshold_ms,
            "grades": dict(asked.grades),
        },
        "versions": {},
        "hosts_total": len(hosts),
        "hosts_measured": sum(row["status"] != "not_measured" for row in hosts),
        "probes_sent": sum(view.sent for view in views if view.sent) if views and all(view.sent is not None for view in views) else None,
        "budget": None,
        "imported": {
            "directory": printable(logs.directory, 200),
            "files": [{"file": log.name, "kind": log.kind, "of": _of(log, views)} for log in logs.logs],
        },
    }


def _of(log: Log, views: Sequence[View]) -> str | None:
    view = next((view for view in views if view.log == log.name and log.kind == PROBES), None)
    return f"{view.words()}: {len(view.stalls)} stall{'s' * (len(view.stalls) != 1)}" if view else None
