"""What a make target finds or misses on a machine, and what it says of it."""

import sys

import pytest

from tests import venvs
from tests.bootstrap import packages


def executable(directory, name, text="#!/bin/sh\n"):
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_missing_tools_are_noticed_and_mapped_to_packages(tmp_path):
    for tool in set(packages.TOOLS["lab"]) - {"ethtool", "iptables-restore"}:
        executable(tmp_path, tool)
    absent = packages.missing(["lab"], str(tmp_path))
    assert absent == ["ethtool", "iptables-restore"]
    assert packages.packages(absent, "apt-get") == ["ethtool", "iptables"]
    assert packages.packages(absent, "dnf") == ["ethtool", "iptables-nft"]


def test_interpreter_skips_a_python_that_does_not_run(tmp_path, monkeypatch):
    version = sys.version_info[:2]
    broken = executable(tmp_path, f"python{version[0]}.{version[1]}", "#!/bin/sh\nexit 127\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert venvs.interpreter(version) is None
    broken.unlink()
    broken.symlink_to(sys.executable)
    assert venvs.interpreter(version) == broken


def test_an_environment_without_an_interpreter_says_which(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setitem(venvs.ENVIRONMENTS, "old", venvs.Environment(".venv-old", (), oldest=(3, 1), newest=(3, 2)))
    with pytest.raises(venvs.Unavailable, match=r"\.venv-old needs Python 3\.1 to 3\.2, and there is none"):
        venvs.ensure("old")
