"""Control groups: where their trees are mounted, how many there are and are dying, and which ran out of CPU quota."""

import os

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.counters import cgroupfs, cgroups, throttled

MOUNTINFO_V1 = """\
30 25 0:26 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,xattr,name=systemd
33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:11 - cgroup cgroup rw,cpu,cpuacct
35 25 0:31 /docker/4f /sys/fs/cgroup/a\\040b rw,nosuid shared:13 - cgroup cgroup rw,memory
22 18 0:21 / /proc rw - proc proc rw
"""


def test_cgroup_mounts():
    found = cgroupfs.parse_mountinfo(MOUNTINFO_V1)
    assert cgroupfs.with_controller(found, "cpu").path == "/sys/fs/cgroup/cpu,cpuacct"
    memory = cgroupfs.with_controller(found, "memory")
    assert (memory.path, memory.whole, memory.version) == ("/sys/fs/cgroup/a b", False, 1)
    assert cgroupfs.unified(found) is None


def test_walk_is_bounded_and_says_so(tmp_path):
    for name in ("a/b", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/file").write_text("")
    os.symlink(str(tmp_path), str(tmp_path / "loop"))
    walk = cgroupfs.Walk(str(tmp_path), seconds=60, most=100)
    assert sorted(os.path.relpath(path, str(tmp_path)) for path in walk) == [".", "a", "a/b", "a/c", "d"]
    assert walk.complete
    short = cgroupfs.Walk(str(tmp_path), seconds=60, most=2)
    assert len(list(short)) == 2
    assert not short.complete


def test_cgroup_controllers():
    content = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t68680\t1\nrdma\t0\t1\t0\n"
    assert cgroups.parse(content) == {"memory": {"hierarchy": 4, "num_cgroups": 68680}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("nr_periods 9\nnr_throttled 4\nthrottled_time 123456789\n", {"periods": 9, "throttled": 4, "throttled_us": 123456}),
        (
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 4\nthrottled_usec 777\nnr_bursts 0\n",
            {"periods": 9, "throttled": 4, "throttled_us": 777},
        ),
        ("usage_usec 5\n", {"periods": 0, "throttled": 0, "throttled_us": 0}),
    ],
)
def test_cpu_stat_of_both_cgroup_versions(content, expected):
    assert throttled.parse(content) == expected


def test_throttled_keeps_only_what_grew():
    def reading(complete=True, **groups):
        rows = {path: {"periods": 100, "throttled": n, "throttled_us": us} for path, (n, us) in groups.items()}
        return {"groups": rows, "complete": complete}

    start, end = throttled.reduce(reading(a=(1, 10), b=(5, 50)), reading(a=(3, 30), b=(5, 50), new=(2, 900)))
    assert list(end["groups"]) == ["new", "a"]
    assert list(start["groups"]) == ["a"]
    assert end["grown"] == 2
    _, end = throttled.reduce(reading(complete=False, a=(1, 10)), reading(a=(3, 30), old=(2, 900)))
    assert list(end["groups"]) == ["a"], "a group that the first look did not get to is not known to be new"


def test_a_group_that_was_made_anew_counts_from_nothing():
    def reading(periods, throttled_times, us):
        row = {"periods": periods, "throttled": throttled_times, "throttled_us": us}
        return {"groups": {"/system.slice/web.service": row}, "complete": True}

    start, end = throttled.reduce(reading(5000, 900, 8_000_000), reading(40, 30, 600_000))
    assert start["groups"] == {}
    assert end["groups"]["/system.slice/web.service"]["throttled_us"] == 600_000


@pytest.mark.parametrize(("version", "root_alone", "child_alone"), [(1, "release_agent", None), (2, None, "cgroup.events")])
def test_the_part_of_a_tree_that_a_namespace_shows_as_root_is_not_whole(tmp_path, monkeypatch, version, root_alone, child_alone):
    (tmp_path / "child").mkdir()
    for folder, name in ((tmp_path, root_alone), (tmp_path / "child", child_alone)):
        if name:
            (folder / name).write_text("")
    kind = {1: "cgroup cgroup rw,memory", 2: "cgroup2 cgroup2 rw"}[version]
    for folder, whole in ((tmp_path, True), (tmp_path / "child", False)):
        monkeypatch.setattr(cgroupfs, "text", lambda path, folder=folder: f"30 25 0:26 / {folder} rw - {kind}\n")
        (found,) = cgroupfs.hierarchies()
        assert (found.version, found.whole) == (version, whole)


def test_dying_groups_are_not_counted_in_a_part_of_the_tree(monkeypatch, tmp_path):
    files = {"/proc/cgroups": "memory\t4\t68680\t1\n", "/proc/self/mountinfo": f"30 25 0:26 / {tmp_path} rw - cgroup cgroup rw,memory\n"}
    for module in (cgroups, cgroupfs):
        monkeypatch.setattr(module, "text", lambda path, *limit: files[path])
    memory = cgroups.read()["memory"]
    assert (memory["num_cgroups"], memory["live"], memory["dying"]) == (68680, 1, None)
    assert "shows only a part of the tree" in memory["reason"]
    (tmp_path / "release_agent").write_text("")
    assert cgroups.read()["memory"]["dying"] == 68679
