"""What a person reads of a capture: the culprit in a sentence, stalls as pictures, causes with sources, and only text from outside."""

import html.parser
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import capture_words, report, table
from tests.unit.simcapture import CONTROL, HOST, STALLS, Capture, attributed, stalled
from tests.unit.simfleet import not_measured

HOSTILE = '<script>alert(1)</script>\x1b[31m|{{ 7*7 }}`[x](javascript:1)\u202e"'
RENDERED = {"table": lambda found: table.render(found, 10, 120), "markdown": report.markdown, "html": report.html}


def hostile() -> dict:
    capture = Capture()
    for start, length in STALLS:
        capture.gap(start, start + length, (HOSTILE, 900, 900)).run(
            start, start + length, (HOSTILE, 4711, 4711), f"do_syscall_64;ksys_read;{HOSTILE}"
        )
        capture.call(start, length * 1000, (HOSTILE, 4711, 4711), HOSTILE, HOSTILE, buffer=HOSTILE)
    connection = {
        "local": HOSTILE,
        "peer": HOSTILE,
        "pid": 1,
        "comm": HOSTILE,
        "rtt_ms": 1,
        "min_rtt_ms": 1,
        "retransmits": 0,
        "unread_bytes": 0,
        "unacked": 0,
    }
    process = {
        "comm": HOSTILE,
        "exe": HOSTILE,
        "unit": HOSTILE,
        "cgroup": HOSTILE,
        "container": HOSTILE,
        "policy": HOSTILE,
        "priority": 1,
        "cmdline": HOSTILE,
    }
    capture.more = {"connections": [connection], "processes": {"4711": process}, "warnings": [HOSTILE]}
    return attributed(capture)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not any(name.startswith("on") or name == "src" for name, _ in attrs)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.text.append(data)


def page(found) -> Page:
    parsed = Page()
    parsed.feed(report.html(found))
    return parsed


@pytest.mark.parametrize("render", RENDERED.values(), ids=RENDERED.keys())
def test_each_names_the_culprit(render):
    shown = " ".join(render(attributed(stalled(STALLS), control=Capture())).split()).replace("\\", "")
    assert f"{HOST} opened up" in shown
    assert "smaps-reader (pid 4711, foo.service) had kept that CPU for" in shown and "it explains 12 of 12 stalls" in shown


def test_the_table_has_two_lines_of_it_and_none_of_a_quiet_control():
    lines = table.render(attributed(stalled(STALLS), control=Capture()), 10, 200).splitlines()
    said = [line for line in lines if "opened up" in line]
    assert len(said) == 1 and said[0].startswith(
        f"{HOST} opened up (high certainty): napi/eth0-12 on CPU 1 drained 10 probes after smaps-reader"
    )
    assert not any(line.startswith(CONTROL) and "opened up" in line for line in lines)


def test_the_page_draws_the_stalls_and_links_the_sources():
    parsed = page(attributed(stalled(STALLS), control=Capture()))
    assert parsed.tags.count("svg") == 6 and "script" not in parsed.tags
    assert parsed.links and all(link.startswith("https://") for link in parsed.links)
    text = " ".join(parsed.text)
    assert f"{CONTROL} opened up (control)" in text and "Control: no stall while it was captured" in text
    assert "the capture left the median round trip as it was" in text and "10 probes drained" in text


@pytest.mark.parametrize("render", RENDERED.values(), ids=RENDERED.keys())
def test_a_host_that_could_not_be_captured_says_why(render):
    assert "no perf here; install it" in " ".join(render(attributed(not_measured("capture", "no perf here", "install it"))).split())


@pytest.mark.parametrize("render", RENDERED.values(), ids=RENDERED.keys())
def test_what_comes_from_the_host_can_only_be_text(render):
    shown = render(hostile())
    assert all(character == "\n" or character.isprintable() for character in shown)


def test_no_markup_comes_from_the_host():
    found = hostile()
    assert "script" not in page(found).tags and not any("javascript" in link for link in page(found).links)
    rows = [line for line in report.markdown(found).splitlines() if line.startswith("|")]
    assert "<script" not in "".join(rows).replace("\\<script", "")


NUMBERS = [float("inf"), float("nan"), 10**400, 2**70, -5, True]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: str(number)[:8])
def test_a_number_that_cannot_be_costs_neither_the_findings_nor_the_reports(number):
    capture = stalled(STALLS).json()
    connection = dict.fromkeys(("local", "peer", "pid", "comm", "rtt_ms", "min_rtt_ms", "retransmits", "unread_bytes", "unacked"), number)
    parts = {part: dict.fromkeys(capture[part], number) for part in ("cost", "memory_cgroups", "versions")}
    parts |= {part: [dict.fromkeys(capture[part][0], number), *capture[part]] for part in ("runs", "slow_calls", "gaps", "handlers")}
    folded = {"gaps": [["smaps-reader", 0, number]], "quiet": [["smaps-reader", 0, number]], "gaps_s": number, "quiet_s": number}
    found = attributed({**capture, **parts, "connections": [connection], "folded": folded, "strace": {"slowdown": number}})
    json.dumps(found, allow_nan=False)
    for render in RENDERED.values():
        assert "smaps-reader" in render(found)


BLOCKS = ["# a heading", "- an item", "+ an item", "1. an item", "    # code", "> a quote"]


@pytest.mark.parametrize("comm", BLOCKS)
def test_a_name_at_the_beginning_of_a_line_makes_no_block(comm):
    capture = Capture()
    for start, length in STALLS:
        capture.gap(start, start + length, (comm, 900, 900)).run(start, start + length, (comm, 4711, 4711))
    lines = report.markdown(attributed(capture)).splitlines()
    (said,) = [line for line in lines if "drained" in line and "had kept" in line]
    assert said[0] == "\\" or said[:3] == "1\\."


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1), st.text())
def test_names_and_files_can_only_be_text(comm, path):
    capture = Capture()
    for start, length in STALLS:
        capture.gap(start, start + length).run(start, start + length, (comm, 4711, 4711)).call(
            start, length * 1000, (comm, 4711, 4711), path=path
        )
    found = attributed(capture)
    for render in RENDERED.values():
        assert all(character == "\n" or character.isprintable() for character in render(found))


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("commit a983b5ebee57", "https://git.kernel.org/linus/a983b5ebee57"),
        ("https://github.com/google/cadvisor/issues/1774", "https://github.com/google/cadvisor/issues/1774"),
        ("javascript:alert(1)", None),
        ("http://example.org", None),
        ('https://example.org/"onclick="x', None),
        ("commit of last week", None),
        ("a book", None),
    ],
)
def test_only_what_is_surely_an_address_is_a_link(source, address):
    assert capture_words.link(source) == address
