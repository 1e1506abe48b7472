"""What `ansible-galaxy collection build` packs: the product, and nothing of the checkout or of what running left behind."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = {
    "CHANGELOG.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "bindep.txt",
    "changelogs",
    "docs",
    "execution-environment.yml",
    "inventories",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}


@pytest.fixture(scope="module")
def members(tmp_path_factory) -> list[tarfile.TarInfo]:
    target = tmp_path_factory.mktemp("artifact")
    tool = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run([tool, "collection", "build", "--output-path", target], cwd=ROOT, check=True, capture_output=True)
    (artifact,) = target.glob("fleet-stall-*.tar.gz")
    assert artifact.stat().st_size < 1_000_000
    with tarfile.open(artifact) as archive:
        return archive.getmembers()


def test_only_the_product_is_packed(members):
    assert {member.name.split("/")[0] for member in members} == PRODUCT


def test_files_are_plain_and_nothing_is_left_over(members):
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    assert [member.name for member in members if "__pycache__" in member.name or member.name.endswith((".pyc", ".orig", "~"))] == []
