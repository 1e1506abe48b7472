"""What is asked for, as a package; from what apt, dpkg, dnf and rpm say."""

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.kernels import asked, debian, host, redhat
from ansible_collections.fleet.stall.plugins.module_utils.kernels.run import Said

RUNNING = "6.1.0-50-cloud-amd64"


@pytest.mark.parametrize(
    ("text", "package", "version"),
    [
        ("linux-image-cloud-amd64", "linux-image-cloud-amd64", None),
        ("", "linux-image-cloud-amd64", None),
        ("linux-image-cloud-amd64=6.1.192-2", "linux-image-cloud-amd64", "6.1.192-2"),
        ("6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", None),
        ("6.12.117+deb12-cloud-amd64", "linux-image-6.12.117+deb12-cloud-amd64", None),
        ("5.15.0-130-generic", "linux-image-5.15.0-130-generic", None),
        ("6.1.192-2", "linux-image-cloud-amd64", "6.1.192-2"),
        ("6.12.9-1~bpo12+1", "linux-image-cloud-amd64", "6.12.9-1~bpo12+1"),
    ],
)
def test_what_is_asked_for_on_debian(text, package, version):
    assert asked.debian(text, RUNNING) == {"package": package, "version": version}


@pytest.mark.parametrize(
    ("release", "flavour"),
    [(RUNNING, "cloud-amd64"), ("6.12.117+deb12-cloud-amd64", "cloud-amd64"), ("5.15.0-130-generic", "generic"), ("6.18.44", "")],
)
def test_the_flavour_of_a_release(release, flavour):
    assert asked.flavour(release) == flavour


@pytest.mark.parametrize(
    ("text", "package", "version"),
    [
        ("kernel", "kernel", None),
        ("", "kernel", None),
        ("kernel-core=5.14.0-503.el9", "kernel-core", "5.14.0-503.el9"),
        ("5.14.0-503.el9.x86_64", "kernel", "5.14.0-503.el9.x86_64"),
    ],
)
def test_what_is_asked_for_on_red_hat(text, package, version):
    assert asked.redhat(text) == {"package": package, "version": version}


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117+deb12-cloud-amd64"),
        ("linux-image-unsigned-6.8.0-31-generic", "6.8.0-31-generic"),
        ("linux-image-6.1.0-56-cloud-amd64-unsigned", "6.1.0-56-cloud-amd64"),
        ("linux-image-6.1.0-56-amd64:amd64", "6.1.0-56-amd64"),
        ("linux-image-6.1.0-56-amd64-dbg", None),
        ("linux-image-cloud-amd64", None),
        # The metapackage of a series holds no kernel either
        ("linux-image-6.12-cloud-amd64", None),
    ],
)
def test_the_release_that_a_package_holds(package, release):
    assert debian.release_of_package(package) == release


@pytest.mark.parametrize("text", ["=1", "-o=x", "a b", "a;b", "$(x)", "a\n", "../x"])
def test_what_is_no_kernel(text):
    assert not asked.FORM.match(text)


SIMULATED = """NOTE: This is only a simulation!
Inst libklibc (2.0.12-1 Debian:12.15/oldstable [amd64])
Inst linux-image-6.1.0-56-cloud-amd64 (6.1.192-2 Debian-Security:12/oldstable-security [amd64])
Inst linux-image-cloud-amd64 [6.1.176-1] (6.1.192-2 Debian-Security:12/oldstable-security [amd64])
Conf linux-image-6.1.0-56-cloud-amd64 (6.1.192-2 Debian-Security:12/oldstable-security [amd64])
"""
META = "linux-image-cloud-amd64"


def answers(table):
    """A host whose programs say what the table has; the first key that is in the command."""
    return lambda *words: next((Said(*said) for key, said in table.items() if key in " ".join(words)), Said(None, "", "missing"))


def target(table, text=META, has=()):
    return debian.target(answers(table), text, RUNNING, list(has))


def test_a_metapackage_is_resolved_by_what_apt_would_do():
    found = target({"--simulate": (0, SIMULATED, "")})
    assert (found["release"], found["spec"], found["installed"], found["replaces"]) == (
        "6.1.0-56-cloud-amd64",
        "linux-image-cloud-amd64=6.1.192-2",
        False,
        False,
    )


def test_a_metapackage_that_is_up_to_date_is_resolved_by_what_it_depends_on():
    shown = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n"
    has = [{"release": "6.1.0-56-cloud-amd64", "package": "linux-image-6.1.0-56-cloud-amd64", "version": "6.1.192-2"}]
    found = target(
        {"--simulate": (0, "linux-image-cloud-amd64 is already the newest version (6.1.192-2).\n", ""), "show": (0, shown, "")}, has=has
    )
    assert (found["release"], found["version"], found["installed"], found["problem"]) == ("6.1.0-56-cloud-amd64", "6.1.192-2", True, None)


def test_a_kernel_whose_files_would_be_replaced_and_packages_that_would_go():
    said = f"Remv wireguard-dkms [1.0]\nInst linux-image-{RUNNING} [6.1.170-1] (6.1.176-1 Debian:12.15 [amd64])\n"
    found = target({"--simulate": (0, said, "")}, f"linux-image-{RUNNING}")
    assert (found["release"], found["replaces"], found["removes"], found["installed"]) == (RUNNING, True, ["wireguard-dkms"], False)


def test_a_package_there_is_not():
    found = target({"--simulate": (100, "Reading package lists...\n", "E: Unable to locate package nope\n")}, "nope")
    assert (found["problem"], found["release"]) == ("Unable to locate package nope", None)
    found = target({"--simulate": (0, "Inst sl (5.02-1 Debian [amd64])\n", "")}, "sl")
    assert found["problem"] == "the package sl brings no kernel"


def test_what_is_installed_on_debian():
    rows = "\n".join(
        [
            "ii  linux-image-6.1.0-9-cloud-amd64 6.1.27-1",
            "ii  linux-image-6.1.0-50-cloud-amd64 6.1.176-1",
            "rc  linux-image-6.1.0-8-cloud-amd64 6.1.25-1",
            "ii  linux-image-cloud-amd64 6.1.176-1",
            "un  linux-image-rt ",
            "hi  linux-image-unsigned-6.6.6 6.6",
        ]
    )
    assert [kernel["release"] for kernel in debian.installed(rows)] == ["6.6.6", "6.1.0-50-cloud-amd64", "6.1.0-9-cloud-amd64"]


RPMS = """kernel 5.14.0-427.13.1.el9_4.x86_64
kernel-core 5.14.0-427.13.1.el9_4.x86_64
kernel-core 5.14.0-70.el9.x86_64
kernel-headers 5.14.0-503.el9.x86_64
kernel-tools 5.14.0-503.el9.x86_64
"""


def test_what_is_installed_on_red_hat():
    found = redhat.installed(RPMS)
    assert [(kernel["package"], kernel["release"]) for kernel in found] == [
        ("kernel-core", "5.14.0-427.13.1.el9_4.x86_64"),
        ("kernel-core", "5.14.0-70.el9.x86_64"),
    ]


@pytest.mark.parametrize(
    ("text", "offered", "release", "installed"),
    [
        ("kernel", "kernel 5.14.0-503.el9.x86_64\n", "5.14.0-503.el9.x86_64", False),
        ("kernel", "kernel 5.14.0-70.el9.x86_64\n", "5.14.0-70.el9.x86_64", True),
        ("5.14.0-70.el9", "", "5.14.0-70.el9.x86_64", True),
        ("kernel=5.14.0-503.el9", "", None, False),
    ],
)
def test_what_dnf_offers(text, offered, release, installed):
    found = redhat.target(answers({"repoquery": (0, offered, "")}), text, "", redhat.installed(RPMS))
    assert (found["release"], found["installed"], found["problem"] is None) == (release, installed, release is not None)


def test_what_is_held_on_red_hat():
    assert redhat.held("# of bash\nbash-5.1-*\nkernel-5.14.0-70.*\n", "[main]\nexcludepkgs = kernel*, nginx\n") == [
        "kernel-5.14.0-70.*",
        "kernel*",
    ]


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("ID=debian\n", "debian"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "redhat"),
        ("ID=alpine\n", None),
        ("", None),
    ],
)
def test_the_family(text, family):
    assert host.family(text) == family


def test_who_has_the_package_manager_locked():
    locks = "\n".join(
        [
            "1: POSIX  ADVISORY  WRITE 4711 08:01:131 0 EOF",
            "1: -> POSIX  ADVISORY  WRITE 4712 08:01:131 0 EOF",
            "2: FLOCK  ADVISORY  WRITE 9 00:1a:5 0 EOF",
        ]
    )
    assert host.holder(locks, (8 << 8) | 1, 131) == 4711
    assert host.holder(locks, (8 << 8) | 1, 132) is None
