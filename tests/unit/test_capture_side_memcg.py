"""One read of memory.stat: which file, on which CPU, and that neither a slow nor a failing one costs us more than the timeout."""

import json
import os
import subprocess
import time

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import memcg
from ansible_collections.fleet.stall.plugins.module_utils.counters.cgroupfs import Hierarchy
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, online_cpus


@pytest.mark.parametrize(
    ("avoid", "online", "allowed", "expected"),
    [
        (set(), [0, 1, 2, 3], {0, 1, 2, 3}, 3),
        ({2, 3}, [0, 1, 2, 3], {0, 1, 2, 3}, 1),
        ({0}, [0, 1, 3], {0, 1, 2, 3}, 3),
        ({3}, [0, 1, 2, 3], {0, 3}, 0),
    ],
)
def test_the_read_keeps_off_the_probes_cpus(avoid, online, allowed, expected):
    assert memcg.free_cpu(avoid, online, allowed) == expected


@pytest.mark.parametrize(("avoid", "allowed"), [({0, 1}, {0, 1}), ({0}, {0}), (set(), {7})])
def test_without_such_a_cpu_it_is_left(avoid, allowed):
    with pytest.raises(Unavailable, match="was not read"):
        memcg.free_cpu(avoid, [0, 1], allowed)


@pytest.fixture
def tree(tmp_path):
    """A tree of directories and files as a cgroup file system shows them."""

    def make(files):
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
        return str(tmp_path)

    return make


CHILDREN = {
    "init.scope/memory.stat": "",
    "init.scope/cgroup.stat": "nr_descendants 0\nnr_dying_descendants 0\n",
    "kubepods.slice/memory.stat": "",
    "kubepods.slice/cgroup.stat": "nr_descendants 3\nnr_dying_descendants 9000\n",
    "kubepods.slice/pod/memory.stat": "",
    "kubepods.slice/pod/cgroup.stat": "nr_descendants 99999\nnr_dying_descendants 0\n",
}


@pytest.mark.parametrize(
    ("files", "version", "controllers", "expected"),
    [
        ({"memory.stat": ""}, 1, ["memory"], "memory.stat"),
        (dict(CHILDREN, **{"memory.stat": ""}), 2, [], "memory.stat"),
        (CHILDREN, 2, [], "kubepods.slice/memory.stat"),
    ],
)
def test_which_file_is_read(tree, files, version, controllers, expected):
    top = tree(files)
    assert memcg.statistics([Hierarchy(top, version, controllers, True)]) == os.path.join(top, expected)


def test_no_memory_controller_is_said(tree):
    with pytest.raises(Unavailable, match="not enabled"):
        memcg.statistics([Hierarchy(tree({"system.slice/cgroup.stat": ""}), 2, [], True)])
    with pytest.raises(Unavailable, match="no memory cgroup hierarchy"):
        memcg.statistics([Hierarchy("/sys/fs/cgroup/cpu", 1, ["cpu"], True)])


def children_of_mine():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def test_a_read_that_does_not_end_is_given_up_and_its_process_killed(tmp_path):
    """Opening a pipe that nobody writes to never returns."""
    os.mkfifo(tmp_path / "memory.stat")
    before = children_of_mine()
    assert memcg.timed(str(tmp_path / "memory.stat"), max(os.sched_getaffinity(0)), 0.2) is None
    until = time.monotonic() + 10
    while time.monotonic() < until and any(is_running(pid) for pid in set(children_of_mine()) - set(before)):
        time.sleep(0.01)
    assert not any(is_running(pid) for pid in set(children_of_mine()) - set(before))


def is_running(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_read_that_fails_says_why(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        memcg.timed(str(tmp_path / "memory.stat"), max(os.sched_getaffinity(0)), 5)


def test_our_own_cpus_and_priority_stay(tmp_path):
    (tmp_path / "memory.stat").write_text("cache 0\n")
    before = os.sched_getaffinity(0), os.nice(0)
    assert memcg.timed(str(tmp_path / "memory.stat"), max(before[0]), 5) >= 0
    assert (os.sched_getaffinity(0), os.nice(0)) == before


@pytest.mark.skipif(not os.path.exists("/proc/cgroups"), reason="no cgroups here")
def test_on_this_machine():
    found = memcg.measure([], 10)
    json.dumps(found, allow_nan=False)
    assert set(found) == {"live", "dying", "read_ms", "read_cpu", "read_path", "reason"}
    if found["read_ms"] is None:
        assert found["reason"]
        return
    assert found["read_ms"] > 0
    assert found["read_path"].endswith("memory.stat")
    assert found["read_cpu"] == max(os.sched_getaffinity(0) & set(online_cpus()))


def test_switched_off_or_without_a_cpu_only_the_counts_are_taken():
    off = memcg.measure([], 0)
    assert (off["read_ms"], off["read_cpu"]) == (None, None)
    assert "switched off" in off["reason"]
    every = memcg.measure(os.sched_getaffinity(0), 5)
    assert every["read_ms"] is None
    assert "was not read" in every["reason"] or "no memory" in every["reason"]
    assert (off["live"], off["dying"]) == (every["live"], every["dying"])


V1 = "/sys/fs/cgroup/memory"


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists(f"{V1}/cgroup.procs"), reason="makes cgroups of v1")
def test_dying_cgroups_are_counted(tmp_path):
    """Removed, while pages of a tmpfs file are still charged to them."""
    made, dying = 20, f"{V1}/fleet-stall-test-{os.getpid()}"
    held = f"/dev/shm/fleet-stall-test-{os.getpid()}"
    before = memcg.measure([], 0)
    if before["dying"] is None:
        pytest.skip(before["reason"])
    os.mkdir(held)
    try:
        for number in range(made):
            os.mkdir(f"{dying}-{number}")
            script = f"echo $$ > {dying}-{number}/cgroup.procs && head -c 20000 /dev/zero > {held}/{number}"
            subprocess.run(["sh", "-c", script], check=True)
            os.rmdir(f"{dying}-{number}")
        assert memcg.measure([], 0)["dying"] >= before["dying"] + made
    finally:
        for number in range(made):
            if os.path.exists(f"{held}/{number}"):
                os.unlink(f"{held}/{number}")
            if os.path.exists(f"{dying}-{number}"):
                os.rmdir(f"{dying}-{number}")
        os.rmdir(held)
