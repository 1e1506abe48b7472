"""drop_caches on real dying memory cgroups: what it took and how much comes back is said, and it is done once."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.measure import measure
from tests.lab import zombies

from .remedies import Place

pytestmark = pytest.mark.alone
MADE = 400
# Others of this machine come and go meanwhile.
SURE = 300


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[zombies.Maker]:
    try:
        maker = zombies.Maker(f"fs-test-{os.getpid()}", tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    yield maker
    maker.close()


def dying(measured: dict) -> int:
    return measured["memory_cgroups"]["dying"]


def dropped() -> tuple[int, int]:
    found = measure(0)["vmstat"]
    return found["drop_pagecache"], found["drop_slab"]


def test_drop_caches(tmp_path, maker):
    place = Place(tmp_path)
    without = dying(measure(0))
    maker.make(MADE)
    before, counted = measure(5), dropped()
    assert dying(before) >= without + SURE, "the machine keeps no dying memory cgroups"

    checked = place.remedy("drop_caches", "--check", before=before, pagecache=True, follow_s=0)
    assert checked.rc == 0 and checked.changed == 2 and dropped() == counted and dying(measure(0)) >= without + SURE, checked.screen

    done = place.remedy("drop_caches", before=before, pagecache=True, enough=0, follow_s=3)
    assert done.rc == 0 and done.result["changed"] is True and done.result["undo"] is None, done.screen
    pages, slabs = dropped()
    assert (pages - counted[0], slabs - counted[1]) == (1, 2)
    said = " ".join(done.result["said"])
    was, now = map(int, re.findall(r"Dying memory cgroups: (\d+) before, (\d+) after", said)[0])
    assert was == dying(before) and now <= was - SURE, said
    assert re.search(r"One read of memory.stat: [\d.]+ ms before, [\d.]+ ms after", said) and "temporary" in said, said
    assert "come back" in said or "came back" in said, said

    # Broken off after the write, it is not done again: the kernel counted it.
    resumed = place.remedy("drop_caches", before=before, resumed=True, follow_s=0)
    assert resumed.rc == 0 and dropped() == (pages, slabs), resumed.screen


def test_what_comes_back_is_counted(tmp_path, maker):
    """Broken off, so that nothing is dropped again here; meanwhile containers come and go."""
    before = measure(5)
    before["vmstat"] = {name: number - 1 for name, number in before["vmstat"].items()}
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            maker.make(5)
            time.sleep(0.2)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        done = Place(tmp_path).remedy("drop_caches", before=before, resumed=True, follow_s=5)
    finally:
        ended.set()
        thread.join()
    rate = re.search(r"([\d.]+) a minute come back \((\d+) after ([\d.]+) s\)", " ".join(done.result["said"]))
    assert done.rc == 0 and rate and float(rate[1]) > 60 and float(rate[3]) >= 5, done.screen
