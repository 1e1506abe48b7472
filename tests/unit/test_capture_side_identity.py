"""Who a process is: paths of cgroups as systemd, docker, podman, containerd and CRI-O spell them, and processes of this machine."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import identity

ID = "3f4d0a6ab0c5bd26c6e29b4a9b36ea9c7f5c1a8c0f4e4b2e9d5c1f7a6b3e2d1c"
OUTER = "a" * 64
POD = "pod1f2e3d4c-5b6a-7988-90ab-cdef01234567"
POD_SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f2e3d4c_5b6a_7988_90ab_cdef01234567.slice"


@pytest.mark.parametrize(
    ("path", "unit", "container"),
    [
        ("/", None, None),
        ("/init.scope", "init.scope", None),
        ("/system.slice/cadvisor.service", "cadvisor.service", None),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", None),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service/worker", "postgresql@15-main.service", None),
        ("/system.slice/dev-disk-by\\x2duuid-7a.swap", "dev-disk-by\\x2duuid-7a.swap", None),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service/init.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo.service", "user@1000.service/app-foo.service", None),
        ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service", None),
        ("/_cpu.service", "cpu.service", None),
        ("/system.slice/lost.service (deleted)", "lost.service", None),
        (f"/docker/{ID}", None, ID),
        (f"/system.slice/docker-{ID}.scope", f"docker-{ID}.scope", ID),
        (f"/system.slice/docker-{ID}.scope/system.slice/nginx.service", f"docker-{ID}.scope", ID),
        (f"/default/{ID}", None, ID),
        (f"/system.slice/nerdctl-{ID}.scope", f"nerdctl-{ID}.scope", ID),
        (f"/kubepods/besteffort/{POD}/{ID}", None, ID),
        (f"/kubepods/{POD}/{ID}", None, ID),
        (f"{POD_SLICE}/docker-{ID}.scope", f"docker-{ID}.scope", ID),
        (f"{POD_SLICE}/cri-containerd-{ID}.scope", f"cri-containerd-{ID}.scope", ID),
        (f"/system.slice/containerd.service/kubepods-burstable-pod1f.slice:cri-containerd:{ID}", "containerd.service", ID),
        (f"{POD_SLICE}/crio-{ID}.scope", f"crio-{ID}.scope", ID),
        (f"{POD_SLICE}/crio-{ID}.scope/container", f"crio-{ID}.scope", ID),
        (f"/system.slice/crio-conmon-{ID}.scope", f"crio-conmon-{ID}.scope", None),
        (f"/machine.slice/libpod-{ID}.scope", f"libpod-{ID}.scope", ID),
        (f"/machine.slice/libpod-{ID}.scope/container", f"libpod-{ID}.scope", ID),
        (f"/machine.slice/libpod-conmon-{ID}.scope", f"libpod-conmon-{ID}.scope", None),
        (f"/libpod_parent/libpod-{ID}", None, ID),
        (f"/system.slice/web.service/libpod-payload-{ID}", "web.service", ID),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            f"user@1000.service/libpod-{ID}.scope",
            ID,
        ),
        (f"/docker/{OUTER}/kubelet/kubepods/burstable/{POD}/{ID}", None, ID),
        (f"/ecs/0123456789abcdef0123456789abcdef/{ID}", None, ID),
        (f"/../../{ID}", None, ID),
        ("/lxc.payload.web", None, None),
        (f"/builds/{ID}0", None, None),
        (f"/builds/{ID[:-1]}", None, None),
    ],
)
@pytest.mark.parametrize("spelling", ["0::{}", "11:memory:{}\n1:name=systemd:{}\n0::/"])
def test_unit_and_container_of_a_path(path, unit, container, spelling):
    found = identity.parse_cgroup(spelling.format(path, path) + "\n")
    assert (found["unit"], found["container"]) == (unit, container)
    assert found["cgroup"] == path.replace(" (deleted)", "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", {"cgroup": None, "unit": None, "container": None}),
        ("4:cpu,cpuacct:/a\n3:memory:/b\n1:name=systemd:/c.service\n", {"cgroup": "/b", "unit": "c.service", "container": None}),
        ("4:cpu,cpuacct:/a\n3:memory:/\n1:name=systemd:/\n0::/\n", {"cgroup": "/a", "unit": None, "container": None}),
        ("4:cpu,cpuacct:/a\n3:memory:/b\n0::/c\n", {"cgroup": "/b", "cpu_cgroup": "/a"}),
        ("4:cpuset:/a\n3:memory:/b\n0::/c\n", {"cgroup": "/b", "cpu_cgroup": "/c"}),
        ("0::/odd:name/x.service\n", {"cgroup": "/odd:name/x.service", "unit": "x.service", "container": None}),
        (f"3:memory:/kubepods/{ID}\n1:name=systemd:/system.slice/kubelet.service\n", {"unit": "kubelet.service", "container": ID}),
    ],
)
def test_which_hierarchy_counts(content, expected):
    found = identity.parse_cgroup(content)
    assert {name: found[name] for name in expected} == expected


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(content):
    identity.parse_cgroup(content)
    try:
        identity.parse_stat(content)
    except (ValueError, IndexError):
        pass


def stat_line(flags=0, policy=0, priority=0, nice=0, name="x"):
    fields = (
        ["S", "2", "0", "0", "0", "0", str(flags)] + ["0"] * 9 + [str(nice)] + ["0"] * 19 + ["1", str(priority), str(policy)] + ["0"] * 11
    )
    return f"77 ({name}) " + " ".join(fields)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (stat_line(), {"policy": "other", "priority": 0, "kernel": False}),
        (stat_line(nice=-5, name="a) R 1 (b"), {"policy": "other", "priority": -5, "kernel": False}),
        (stat_line(flags=0x00200040, policy=1, priority=50), {"policy": "fifo", "priority": 50, "kernel": True}),
        (stat_line(policy=3, nice=19), {"policy": "batch", "priority": 19, "kernel": False}),
    ],
)
def test_scheduling_and_kind(line, expected):
    assert identity.parse_stat(line) == expected


def test_this_process():
    found = identity.describe(os.getpid())
    assert found["exe"] == os.path.realpath(sys.executable)
    # Tests may be run with idle CPU time alone
    policy = {os.SCHED_OTHER: "other", os.SCHED_BATCH: "batch", os.SCHED_IDLE: "idle"}[os.sched_getscheduler(0)]
    assert (found["kernel"], found["policy"]) == (False, policy)
    assert found["cgroup"].startswith("/")
    assert "python" in found["cmdline"]


def test_a_long_command_line_is_cut_and_shows_no_environment():
    script = "echo ready; read word"
    child = subprocess.Popen(
        ["sh", "-c", script, "x" * 3000],
        env={"SECRET": "hunter2", "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        child.stdout.readline()  # before, the kernel may still be putting the words in place
        found = identity.describe(child.pid)
        assert found["cmdline"].startswith(f"sh -c {script} xxx")
        assert len(found["cmdline"]) <= identity.CMDLINE_CHARS
        assert "hunter2" not in str(found)
    finally:
        child.communicate()


@pytest.mark.skipif(identity.describe(2)["comm"] != "kthreadd", reason="kernel threads can't be seen")
def test_a_kernel_thread_has_no_program():
    found = identity.describe(2)
    assert (found["comm"], found["exe"], found["cmdline"], found["kernel"]) == ("kthreadd", None, None, True)


def test_a_process_that_is_gone_is_all_null():
    child = subprocess.Popen(["true"])
    child.wait()
    assert set(identity.describe(child.pid).values()) == {None}
    assert identity.fd_path(child.pid, 0) is None


def test_what_a_descriptor_leads_to(tmp_path):
    with open(tmp_path / "memory.stat", "w") as file:
        assert identity.fd_path(os.getpid(), file.fileno()) == str(tmp_path / "memory.stat")
    assert identity.fd_path(os.getpid(), 99999) is None
