"""What GRUB would boot, from real files of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.kernels import boot, grub

REAL = Path(__file__).with_name("kernels")
CONFIGURATION = (REAL / "debian-12.grub.cfg").read_text()
ADVANCED = "gnulinux-advanced-0d8e3a9c-2f3b-4a55-9c1e-4d7a8a1c2b3d"
NEWEST, MIDDLE, OLDEST = "6.12.117+deb12-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-50-cloud-amd64"
TREE = grub.menu(CONFIGURATION)


def named(release):
    return f"{ADVANCED}>gnulinux-{release}-advanced-0d8e3a9c-2f3b-4a55-9c1e-4d7a8a1c2b3d"


def test_the_menu_of_a_real_configuration():
    found = grub.entries(TREE)
    assert [(entry["release"], entry["recovery"]) for entry in found] == [
        (NEWEST, False),
        (NEWEST, False),
        (NEWEST, True),
        (MIDDLE, False),
        (MIDDLE, True),
        (OLDEST, False),
        (OLDEST, True),
    ]
    assert [grub.entry_of(release, found)["entry"] for release in (NEWEST, MIDDLE, OLDEST)] == [named(NEWEST), named(MIDDLE), named(OLDEST)]
    assert grub.entry_of("6.6.6", found) is None


@pytest.mark.parametrize(
    ("setting", "release"),
    [
        ("0", NEWEST),
        ("1>2", MIDDLE),
        ("1>4", OLDEST),
        ("1", NEWEST),
        (named(OLDEST), OLDEST),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux " + MIDDLE, MIDDLE),
        ("", NEWEST),
        ("7", NEWEST),
        (f"{ADVANCED}>gone", NEWEST),
    ],
)
def test_what_a_setting_boots(setting, release):
    assert grub.booted_by(setting, TREE)["release"] == release


SAVED = CONFIGURATION.replace('set default="0"', 'set default="${saved_entry}"')


@pytest.mark.parametrize(
    ("configuration", "environment", "saved", "default", "following"),
    [
        (CONFIGURATION, {"saved_entry": named(OLDEST)}, False, NEWEST, None),
        (SAVED, {"saved_entry": named(OLDEST)}, True, OLDEST, None),
        (SAVED, {}, True, NEWEST, None),
        (SAVED, {"saved_entry": named(OLDEST), "next_entry": named(MIDDLE)}, True, OLDEST, MIDDLE),
    ],
)
def test_default_and_next(configuration, environment, saved, default, following):
    found = boot.judged(configuration, environment)
    assert (found["saved"], found["default"], found["next"]) == (saved, default, following)


@pytest.mark.parametrize(
    ("line", "panics"), [("quiet panic=30", True), ("panic=-1", True), ("panic=0", False), ("kpanic=5", False), ("", False)]
)
def test_whether_a_kernel_that_panics_reboots(line, panics):
    assert boot.judged(CONFIGURATION.replace(" ro ", f" ro {line} "), {})["panics"] is panics


def test_the_environment_block_and_the_note_in_it():
    found = grub.environment((REAL / "grubenv").read_text())
    assert found["saved_entry"] == "gnulinux-advanced-x>gnulinux-6.1"
    assert boot.trial(found[boot.TRIAL]) == {"phase": "trying", "release": MIDDLE, "boot_id": "0d8e3a9c-2f3b-4a55-9c1e-4d7a8a1c2b3d"}


@pytest.mark.parametrize("note", ["", "x", "trying,", "done,a,b", "trying,a,b,c"])
def test_a_note_that_is_none(note):
    assert boot.trial(note) is None


GRUBBY = """index=0
kernel="/boot/vmlinuz-5.14.0-503.11.1.el9_5.x86_64"
args="ro crashkernel=1G-4G:192M,4G-64G:256M,64G-:512M console=ttyS0,115200 $tuned_params"
root="UUID=2a1b3c4d-0000-4000-8000-1234567890ab"
initrd="/boot/initramfs-5.14.0-503.11.1.el9_5.x86_64.img $tuned_initrd"
title="Red Hat Enterprise Linux (5.14.0-503.11.1.el9_5.x86_64) 9.5 (Plow)"
id="0123456789abcdef0123456789abcdef-5.14.0-503.11.1.el9_5.x86_64"
index=1
kernel="/boot/vmlinuz-5.14.0-427.13.1.el9_4.x86_64"
args="ro"
title="Red Hat Enterprise Linux (5.14.0-427.13.1.el9_4.x86_64) 9.4 (Plow)"
id="0123456789abcdef0123456789abcdef-5.14.0-427.13.1.el9_4.x86_64"
index=2
kernel="/boot/vmlinuz-0-rescue-0123456789abcdef0123456789abcdef"
title="Red Hat Enterprise Linux (0-rescue-0123456789abcdef0123456789abcdef) 9.4 (Plow)"
id="0123456789abcdef0123456789abcdef-0-rescue"
index=3
non linux entry
"""
OLD_RPM = "5.14.0-427.13.1.el9_4.x86_64"


def test_entries_of_the_boot_loader_specification():
    rows = grub.grubby_entries(GRUBBY)
    assert [row["recovery"] for row in rows] == [False, False, True]
    found = boot.judged(SAVED, {"saved_entry": f"0123456789abcdef0123456789abcdef-{OLD_RPM}", "next_entry": "0"}, rows)
    assert (found["default"], found["next"]) == (OLD_RPM, "5.14.0-503.11.1.el9_5.x86_64")
    assert grub.entry_of(OLD_RPM, rows)["entry"].endswith(OLD_RPM)


@given(st.text(alphabet="menuentry sub{}'\"\\>\n$-id01linux/vz#", max_size=200), st.text(max_size=20))
def test_no_text_breaks_the_reading(text, setting):
    tree = grub.menu(text)
    for entry in grub.entries(tree):
        assert set(entry) == {"entry", "title", "release", "recovery"}
    grub.booted_by(setting, tree)
    grub.grubby_entries(text)
    boot.judged(text, grub.environment(text))


@given(st.recursive(st.just([]), lambda below: st.lists(below, max_size=3), max_leaves=8), st.text(alphabet="a>0", min_size=1, max_size=3))
def test_each_entry_is_booted_by_its_name(shape, name):
    """Whatever the menu and the names, ">" in them included."""
    numbers = iter(range(1000))

    def item(below):
        number = next(numbers)
        children = [item(one) for one in below] if below else None
        return {"title": f"t{number}{name}x", "id": None, "release": str(number), "recovery": False, "children": children}

    tree = [item(below) for below in shape]
    for entry in grub.entries(tree):
        assert grub.booted_by(entry["entry"], tree)["title"] == entry["title"]
