"""The order of versions, held to what dpkg and rpm themselves say."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.kernels.versions import deb_key, release_key, rpm_key


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.1.9-1", "6.1.10-1"),
        ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64"),
        ("6.1.0-56-cloud-amd64", "6.12.117+deb12-cloud-amd64"),
        ("6.12~rc1", "6.12"),
        ("6.12", "6.12+deb13"),
    ],
)
def test_newer_releases_of_debian(older, newer):
    assert release_key(older) < release_key(newer)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("5.14.0-70.el9.x86_64", "5.14.0-503.el9.x86_64"),
        ("5.14.0-503.el9.x86_64", "5.14.0-503.11.1.el9_5.x86_64"),
        ("4.18.0-553.el8.x86_64", "5.14.0-1.el9.x86_64"),
        ("6.12~rc1", "6.12"),
        ("6.12", "6.12^git1"),
        ("6.12^git1", "6.12.1"),
        ("6.12a", "6.12.1"),
    ],
)
def test_newer_versions_of_rpm(older, newer):
    assert rpm_key(older) < rpm_key(newer)


def order(key, one, other):
    return (key(one) > key(other)) - (key(one) < key(other))


VERSION = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "1:", "12:"]),
    st.from_regex(r"\A[0-9][0-9a-zA-Z.+~]{0,6}\Z"),
    st.one_of(st.just(""), st.from_regex(r"\A-[0-9a-z.+~]{1,4}\Z")),
)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="no dpkg here to compare with")
@settings(max_examples=150)
@given(VERSION, VERSION)
def test_the_order_is_that_of_dpkg(one, other):
    wanted = {-1: "lt", 0: "eq", 1: "gt"}[order(deb_key, one, other)]
    assert subprocess.run(["dpkg", "--compare-versions", one, wanted, other], check=False).returncode == 0, (one, wanted, other)


@pytest.mark.skipif(not shutil.which("rpm"), reason="no rpm here to compare with")
@settings(max_examples=100)
@given(*[st.from_regex(r"\A[0-9a-z][0-9a-zA-Z._~^-]{0,7}\Z")] * 2)
def test_the_order_is_that_of_rpm(one, other):
    said = subprocess.run(["rpm", "--eval", f"%{{lua:print(rpm.vercmp('{one}', '{other}'))}}"], stdout=subprocess.PIPE, check=True).stdout
    assert order(rpm_key, one, other) == int(said), (one, other)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_has_a_place(one, other):
    for key in (deb_key, release_key, rpm_key):
        assert (key(one) < key(other)) + (key(one) > key(other)) + (key(one) == key(other)) == 1
