"""docs/CAUSES.md is what the catalogue says now, and names all that a file of causes can use."""

from ansible_collections.fleet.stall.plugins.plugin_utils.causes import load
from ansible_collections.fleet.stall.plugins.plugin_utils.facts import TABLE
from tests.tools import causes_page

CAUSES = load().causes
TEXT = causes_page.PAGE.read_text(encoding="utf-8")


def test_the_page_is_up_to_date():
    assert causes_page.page(TEXT, CAUSES) == TEXT, "run: PYTHONPATH=collections python -m tests.tools.causes_page"


def test_the_page_has_every_cause_and_every_fact():
    assert all(f"\n### {cause.id}\n" in TEXT for cause in CAUSES)
    assert all(f"| `{name}` |" in TEXT for name, _, _ in TABLE)


def test_a_symptom_comes_after_the_causes():
    places = [TEXT.index(f"\n### {cause.id}\n") for cause in sorted(CAUSES, key=lambda cause: cause.symptom)]
    symptoms = sum(cause.symptom for cause in CAUSES)
    assert symptoms and max(places[:-symptoms]) < min(places[-symptoms:])
