"""Addresses get the name of the function around them, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols

TEXT = """\
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 T __pi_memcpy
ffffffff81000100 T __memcpy
ffffffff81000100 T memcpy
ffffffff81000200 t local
ffffffff81000200 T global
ffffffff81000300 W weak
ffffffff81000300 t strong.isra.0
ffffffff81000400 T _etext
ffffffff81000400 R __start_rodata
ffffffff82000000 D jiffies
ffffffffc0000300 t later_function\t[nf_conntrack]
ffffffffc0000100 t gc_worker\t[nf_conntrack]
ffffffffc0000200 b some_data\t[nf_conntrack]
ffffffffc0100000 t bpf_prog_6deef7357e7b4530_sd_devices\t[bpf]
ffffffffc0100080 t bpf_trampoline_6442\t[bpf]
not a line
ffffffffc0200000 t odd;name
fffffffff00000000 t too_long
"""


@pytest.fixture(scope="module")
def symbols(tmp_path_factory):
    path = tmp_path_factory.mktemp("kernel") / "kallsyms"
    path.write_text(TEXT)
    return Symbols.load(str(path))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFF80FFFFFF, None),
        (0xFFFFFFFF81000000, "_text"),
        (0xFFFFFFFF81000150, "memcpy"),
        (0xFFFFFFFF810002FF, "global"),
        (0xFFFFFFFF81000300, "strong.isra.0"),
        (0xFFFFFFFF82000008, None),
        (0xFFFFFFFFC0000180, "gc_worker"),
        (0xFFFFFFFFC0000208, None),
        (0xFFFFFFFFC0000308, "later_function"),
        (0xFFFFFFFFC0100010, "bpf_prog_6deef7357e7b4530_sd_devices"),
        (0xFFFFFFFFC0100090, "bpf_trampoline_6442"),
        (0xFFFFFFFFC0200010, "odd:name"),
        (0, None),
        ((1 << 64) - 1, "odd:name"),
    ],
)
def test_names(symbols, address, name):
    assert symbols.available and symbols.reason is None
    assert symbols.name(address) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [("0000000000000000 T _text\n0000000000000000 T _stext\n", "kptr_restrict"), ("", "no addresses"), (None, "No such file")],
)
def test_why_there_are_no_names(tmp_path, text, says):
    path = tmp_path / "kallsyms"
    if text is not None:
        path.write_text(text)
    symbols = Symbols.load(str(path))
    assert not symbols.available and says in symbols.reason
    assert symbols.name(0xFFFFFFFF81000000) is None


LINE = st.sampled_from([*TEXT.splitlines(keepends=True), " ", "\t", "\n", "ffffffff", " t ", "0" * 16])


@given(st.lists(st.one_of(LINE, st.text(max_size=9))).map("".join), st.integers(0, (1 << 64) - 1))
def test_no_file_breaks_the_reader(tmp_path_factory, text, address):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(text.encode())
    symbols = Symbols.load(str(path))
    assert symbols.available is (symbols.reason is None)
    for asked in (address, 0xFFFFFFFF81000100):
        name = symbols.name(asked)
        assert name is None or (symbols.available and name.isprintable() and ";" not in name)


def test_this_kernel_s_own():
    symbols = Symbols.load()
    if not symbols.available:
        pytest.skip(symbols.reason)
    with open("/proc/kallsyms") as lines:
        rows = [line.split() for line in lines]
    named = {name: int(address, 16) for address, kind, name, *_ in rows if name in ("vfs_read", "schedule", "do_idle")}
    assert len(named) == 3
    for name, address in named.items():
        assert symbols.name(address) == symbols.name(address + 4) == name
