# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings as a document: Markdown for a ticket, one HTML page that needs nothing else for a reader."""

from __future__ import annotations

import html as markup
from collections.abc import Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import capture_page, verify_page, wording
from ansible_collections.fleet.stall.plugins.plugin_utils.text import markdown as _md
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_HEADINGS = (
    "#",
    "Host",
    "Verdict",
    "Stalled ms/s",
    "95% interval",
    "Events",
    "Longest ms",
    "p99.9 ms",
    "Blame",
    "Certainty",
    "Queues",
    "Loss",
)
_HOSTS_BY_WAY = 20
_NUMERIC = frozenset((0, 3, 4, 5, 6, 7, 10, 11))

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --page: #fff; --band: #f6f8fa;
  --critical: #b42318; --major: #b54708; --minor: #7a5d00; --clear: #1a7f37; --bar: #d1242f33; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --page: #0d1117; --band: #151b23;
  --critical: #ff7b72; --major: #f0883e; --minor: #d9b13b; --clear: #3fb950; --bar: #ff7b7244; } }
body { margin: 2rem auto; max-width: 86rem; padding: 0 1rem; background: var(--page); color: var(--ink); }
body { font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } p, dd { overflow-wrap: anywhere; }
.soft, dt { color: var(--soft); } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--band); font-weight: 600; white-space: nowrap; } .n { text-align: right; white-space: nowrap; }
td:nth-child(3) { white-space: nowrap; } td:nth-child(2) { overflow-wrap: anywhere; min-width: 8rem; }
.critical, .major, .minor, .clear { font-weight: 600; } .critical { color: var(--critical); } .major { color: var(--major); }
.minor, .suspect { color: var(--minor); } .clear { color: var(--clear); } .not-measured { color: var(--soft); font-style: italic; }
.rate { background: linear-gradient(var(--bar), var(--bar)) right / var(--share) 100% no-repeat; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dd { margin: 0; }
"""


def markdown(findings: Mapping[str, Any], verification: Mapping[str, Any] | None = None) -> str:
    """report.md, of a run that verifies another with what that says. Everything from outside is escaped."""
    rows = [_HEADINGS, tuple("---:" if index in _NUMERIC else "---" for index in range(len(_HEADINGS)))]
    table = [*rows[:2], *(tuple(_md(cell) for cell in _cells(host)) for host in findings["hosts"])]
    lines = [f"# Stalls in run {_md(findings['run']['id'])}", "", _md(wording.totals(findings)), ""]
    lines += [f"| {' | '.join(row)} |" for row in table]
    lines += verify_page.markdown(verification) if verification else []
    lines += capture_page.markdown(findings)
    for title, items in _sections(findings):
        lines += ["", f"## {title}", "", *(f"- {'**' + _md(term) + '**: ' if term else ''}{_md(text)}" for term, text in items)]
    return "\n".join(lines) + "\n"


def html(findings: Mapping[str, Any], verification: Mapping[str, Any] | None = None) -> str:
    """report.html: self-contained, no script, light and dark. Everything from outside is escaped."""
    title = f"Stalls in run {_esc(findings['run']['id'])}"
    worst = max((_share_of(host) for host in findings["hosts"]), default=0)
    head = "".join(f"<th{_class(index)} scope=col>{heading}</th>" for index, heading in enumerate(_HEADINGS))
    rows = "\n".join(_row(host, worst) for host in findings["hosts"])
    verified = verify_page.html(verification) if verification else ""
    sections = "\n".join(_section(name, items) for name, items in _sections(findings))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}{capture_page.STYLE}{verify_page.STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="soft">{_esc(wording.totals(findings))}</p>\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>\n{verified}\n{capture_page.html(findings)}\n{sections}\n</body>\n</html>\n"
    )


def _cells(host: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        wording.number(host.get("rank")),
        printable(host["host"], 120),
        wording.verdict(host),
        wording.rate(host),
        wording.interval(host),
        wording.severity(host, "events"),
        wording.severity(host, "max_ms"),
        wording.severity(host, "p999_ms"),
        wording.blame(host),
        wording.certainty(host),
        wording.queues(host),
        wording.loss(host),
    )


def _sections(findings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Title and (term, text) of what follows the table; the term may be empty."""
    why = [
        (printable(host["host"], 120), wording.explanation(host))
        for host in findings["hosts"]
        if host["status"] in ("stalling", "suspect") and wording.explanation(host)
    ]
    sections = (
        ("Why", why),
        ("Way by way", _ways(findings)),
        ("In common to several hosts", [("", wording.coincidence(fault)) for fault in findings.get("coincident") or []]),
        ("Not measured", [(", ".join(hosts), reason) for reason, hosts in wording.not_measured(findings)]),
        ("Notes", [("", printable(warning)) for warning in findings.get("warnings") or []]),
        ("The run", _run(findings["run"])),
    )
    return [(title, items) for title, items in sections if items]


def _ways(findings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The elimination for the worst hosts; findings.json has it for all."""
    shown = [host for host in findings["hosts"] if host["status"] == "stalling"][:_HOSTS_BY_WAY]
    return [
        (f"{printable(host['host'], 120)}, {way}", f"{figures}: {sentence}" if figures else sentence)
        for host in shown
        for way, figures, sentence in wording.directions(host)
    ]


def _run(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    parameters = run["parameters"]
    rows = [
        ("started", run["started_at"]),
        ("hosts measured", f"{run['hosts_measured']} of {run['hosts_total']}"),
        ("window", _with_unit(parameters["window_s"], "s")),
        ("probe interval", _with_unit(parameters["interval_ms"], "ms")),
        ("threshold", _with_unit(parameters["threshold_ms"], "ms")),
        ("probes sent", "" if run["probes_sent"] is None else f"{run['probes_sent']}"),
        *_load(run["budget"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items())),
        *_imported(run.get("imported") or {}),
    ]
    return [(term, text) for term, text in rows if text]


def _load(budget: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Planned load by limit; nothing of what others sent."""
    if budget is None:
        return []
    pairs = (("by", "most_sent_pps", "host_pps_limit"), ("to", "most_received_pps", "target_pps_limit"))
    return [
        (f"most sent {way} a host", f"{wording.number(budget[most])} a second, of {wording.number(budget[limit])} allowed")
        for way, most, limit in pairs
    ]


def _imported(imported: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The foreign logs that the findings are from."""
    found = []
    for row in imported.get("files") or []:
        kind = str(row["kind"]).replace("_", " ")
        found.append((f"log {printable(row['file'], 80)}", printable(f"{kind}, {row['of']}" if row["of"] else kind)))
    return found


def _with_unit(value: Any, unit: str) -> str:
    """Nothing for what is not known."""
    return f"{wording.number(value)} {unit}" if value is not None else ""


def _row(host: Mapping[str, Any], worst: float) -> str:
    name = wording.verdict(host).replace(" ", "-")
    share = f"{100 * _share_of(host) / worst:.0f}%" if worst else "0%"
    cells = []
    for index, cell in enumerate(_cells(host)):
        extra = f' class="n rate" style="--share: {share}"' if index == 3 else f' class="{_esc(name)}"' if index == 2 else _class(index)
        cells.append(f"<td{extra}>{_esc(cell)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _share_of(host: Mapping[str, Any]) -> float:
    return 0.0 if host["status"] in ("clear", "not_measured") else float((host.get("severity") or {}).get("stalled_ms_per_s") or 0)


def _section(title: str, items: list[tuple[str, str]]) -> str:
    if all(term for term, _text in items):
        body = "<dl>" + "".join(f"<dt>{_esc(term)}</dt><dd>{_esc(text)}</dd>" for term, text in items) + "</dl>"
    else:
        body = "<ul>" + "".join(f"<li>{_esc(text)}</li>" for _term, text in items) + "</ul>"
    return f"<h2>{title}</h2>\n{body}"


def _class(index: int) -> str:
    return ' class="n"' if index in _NUMERIC else ""


def _esc(text: Any) -> str:
    return markup.escape(printable(text, 4000))
