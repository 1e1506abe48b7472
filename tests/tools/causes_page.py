"""Writes the catalogue of causes and the table of facts into docs/CAUSES.md, below its mark.

`PYTHONPATH=collections python -m tests.tools.causes_page`
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.cause import Cause, Measure, Trigger
from ansible_collections.fleet.stall.plugins.plugin_utils.causes import load
from ansible_collections.fleet.stall.plugins.plugin_utils.facts import TABLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "CAUSES.md"
MARK = "<!-- From here on written by tests/tools/causes_page.py -->\n"
FACTS = """\
## Facts

What a counter of a cause can be asked of. A name that was not measured on a host is absent, which speaks neither for nor against a
cause; `<..>` stands for one of several, and in a cause `{cpu}`, `{handler}` and `{cgroup}` stand for those of the stall (`{cgroup}`: and
those above it).

| name | unit | what it is |
|---|---|---|
"""


def page(before: str, causes: Iterable[Cause]) -> str:
    """The page with all below its mark anew; the same causes give the same page."""
    ordered = sorted(causes, key=lambda cause: (cause.symptom, cause.id))
    contents = ["## Catalogue", "", "| cause | class | what happens |", "|---|---|---|"]
    contents += [f"| [{cause.id}](#{cause.id}) | {', '.join(cause.classes)} | {_cell(cause.title)} |" for cause in ordered]
    facts = FACTS + "\n".join(f"| `{name}` | {unit} | {_cell(meaning)} |" for name, unit, meaning in TABLE)
    return before.partition(MARK)[0] + "\n".join([MARK, *contents, "", *(_section(cause) for cause in ordered), facts]) + "\n"


def _section(cause: Cause) -> str:
    marks = [mark for mark, is_so in (("symptom", cause.symptom), ("unconfirmed", cause.unconfirmed)) if is_so]
    lines = [f"### {cause.id}", "", f"{cause.title}.{' (' + ', '.join(marks) + ')' if marks else ''}", ""]
    lines += [f"- class: {', '.join(cause.classes)}"]
    lines += [f"- class {kind} only if: {_trigger(fields)}" for kind, fields in cause.only_if.items()]
    lines += [f"- frames: `{pattern.text}`" for pattern in cause.frames]
    lines += [f"- not with: {', '.join(f'`{pattern.text}`' for pattern in cause.not_frames)}"] if cause.not_frames else []
    lines += [f"- counter: {_measure(counter)}" for counter in cause.counters]
    lines += [f"- kernel log: `{pattern.pattern}`" for pattern in cause.log]
    lines += [f"- trigger: {_trigger(fields)}" for fields in cause.trigger]
    lines += [f"- causal test: {_measure(cause.test)}"] if cause.test else []
    lines += [f"- kernel: {_kernel(cause)}"] if cause.kernel else []
    lines += [f"- seen: {cause.seen}"]
    lines += [f"- for now: {cause.mitigation}"] if cause.mitigation else []
    lines += [f"- cure: {cause.fix}"] if cause.fix else []
    lines += [f"- remedies: {', '.join(cause.remedies)}"] if cause.remedies else []
    lines += [f"- {name} asks for: {_settings(values)}" for name, values in cause.settings.items()]
    lines += [f"- sources: {', '.join(_source(source) for source in cause.sources)}"] if cause.sources else []
    return "\n".join(lines) + "\n"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(_setting(row) for row in values["settings"]) if "settings" in values else _named(values)


def _setting(row: Mapping[str, Any]) -> str:
    rule = {key: value for key, value in row.items() if key not in ("sysctl", "file", "optional")}
    return f"`{row.get('sysctl') or row['file']}` {_named(rule)}{' (where there is one)' if row.get('optional') else ''}"


def _named(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())


def _kernel(cause: Cause) -> str:
    words = (("from", "from"), ("to", "before"))
    versions = " ".join(f"{word} {cause.kernel[key]}" for key, word in words if key in cause.kernel)
    return "; ".join(part for part in (versions, cause.kernel.get("note")) if part)


def _measure(measure: Measure) -> str:
    return f"{measure.means}, `{measure.fact}` {measure.op} {measure.value:g}"


def _trigger(fields: Trigger) -> str:
    return " and ".join(f"{name} `{pattern.pattern}`" for name, pattern in fields.items())


def _source(source: str) -> str:
    if not source.startswith("commit "):
        return f"<{source}>"
    commit = source.removeprefix("commit ")
    return f"[{commit}](https://git.kernel.org/torvalds/c/{commit})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), load().causes), encoding="utf-8")


if __name__ == "__main__":
    main()
