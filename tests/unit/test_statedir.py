"""The state directory: private, checked, and clear about what is in its way."""

import os
import subprocess

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import statedir
from ansible_collections.fleet.stall.plugins.module_utils.statedir import Refusal

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners and mounts")


def test_where(tmp_path):
    mine = os.geteuid()
    assert statedir.locate(0, {"XDG_RUNTIME_DIR": str(tmp_path)}) == "/run/fleet.stall"
    if mine:
        assert statedir.locate(mine, {"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/fleet.stall"
    # become leaves the runtime directory of the user before in the environment
    assert statedir.locate(mine + 1, {"XDG_RUNTIME_DIR": str(tmp_path)}).endswith(f"/fleet.stall-{mine + 1}")


def test_made_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        path = statedir.prepare(str(tmp_path / "state"))
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert statedir.prepare(path) == path


def test_a_link_that_waits_for_us_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(str(tmp_path / "elsewhere"), str(tmp_path / "state"))
    with pytest.raises(Refusal, match="state is not a directory .*: remove it"):
        statedir.prepare(str(tmp_path / "state"))


def test_a_directory_open_to_others_is_refused(tmp_path):
    (tmp_path / "state").mkdir()
    os.chmod(str(tmp_path / "state"), 0o770)
    with pytest.raises(Refusal, match="open to other users .mode 770.: .*chmod 700"):
        statedir.prepare(str(tmp_path / "state"))


@needs_root
def test_a_directory_of_someone_else_is_refused(tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(str(tmp_path / "state"), 65534, 65534)
    with pytest.raises(Refusal, match="belongs to user id 65534"):
        statedir.prepare(str(tmp_path / "state"))


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_error_names_path_and_remedy(tmp_path, parent):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal) as refused:
        statedir.prepare(str(tmp_path / parent / "state"))
    assert f"{tmp_path}/{parent}/state" in refused.value.reason
    assert refused.value.remedy


@pytest.fixture
def mounted(tmp_path):
    made = []

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)], stderr=subprocess.PIPE, check=False)
        if done.returncode:
            pytest.skip(f"no mount here: {done.stderr.decode()}")
        made.append(tmp_path)
        return str(tmp_path / "state")

    yield mount
    for path in made:
        subprocess.run(["umount", str(path)], check=True)


@needs_root
@pytest.mark.parametrize(
    ("options", "said"), [("size=64k", "less than 1 MiB is free: free some space"), ("ro", "Read-only file system: make it writable")]
)
def test_full_and_readonly(mounted, options, said):
    path = mounted(options)
    with pytest.raises(Refusal) as refused:
        statedir.prepare(path)
    assert path in str(refused.value)
    assert said in str(refused.value)


def test_sweep_removes_what_is_old_and_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    root = tmp_path / "root"
    (root / "old-job").mkdir(parents=True)
    (root / "old-job" / "observe.json.gz").write_text("x")
    (root / "new-job").mkdir()
    (root / "old.raw.json.gz").write_text("x")
    (root / statedir.LOCK).write_text("x")
    os.symlink(str(outside), str(root / "link"))
    now = os.stat(str(root / "new-job")).st_mtime
    for name in ("old-job", "old.raw.json.gz", statedir.LOCK):
        os.utime(str(root / name), (now - 90000, now - 90000))
    os.utime(str(root / "link"), (now - 90000, now - 90000), follow_symlinks=False)
    statedir.sweep(str(root), now)
    assert sorted(os.listdir(str(root))) == [statedir.LOCK, "new-job"]
    assert (outside / "precious").exists()
