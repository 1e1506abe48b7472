"""The readers of kernel state, against text as kernels from 3.10 to 6.x print it, and against this machine."""

import json
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import counters
from ansible_collections.fleet.stall.plugins.module_utils.counters import (
    cgroupfs,
    cgroups,
    conntrack,
    cpu,
    dentries,
    interrupts,
    ipvs,
    kernel,
    kernel_log,
    machine,
    neighbours,
    netstat,
    pressure,
    sockets,
    softirqs,
    softnet,
    source,
    threads,
    vmstat,
)
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable


@pytest.mark.parametrize(
    ("version", "debugfs", "cmdline", "config", "realtime", "model"),
    [
        ("#1 SMP PREEMPT_RT Debian 6.1.90-1", None, None, None, None, "rt"),
        ("#1 SMP PREEMPT RT Mon Jan 1", None, None, None, None, "rt"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1", "none voluntary (full)", "preempt=none", None, None, "full"),
        ("#1 SMP PREEMPT_DYNAMIC", None, "ro quiet preempt=lazy", "CONFIG_PREEMPT_NONE=y", None, "lazy"),
        ("#1 SMP PREEMPT_DYNAMIC", None, "ro quiet", "CONFIG_PREEMPT_BUILD=y\nCONFIG_PREEMPT_VOLUNTARY=y\n", None, "voluntary"),
        ("#1 SMP PREEMPT_DYNAMIC", None, "nopreempt=full", None, None, "unknown"),
        ("#1 SMP PREEMPT Mon", None, None, None, None, "full"),
        ("#112-Ubuntu SMP Thu Feb 3", None, None, "# CONFIG_PREEMPT is not set\nCONFIG_PREEMPT_VOLUNTARY=y", None, "voluntary"),
        ("#112-Ubuntu SMP Thu Feb 3", None, None, None, None, "unknown"),
        ("#1 SMP", None, None, None, "1", "rt"),
    ],
)
def test_preemption_model(version, debugfs, cmdline, config, realtime, model):
    assert kernel.preemption(version, debugfs, cmdline, config, realtime)[0] == model


@pytest.mark.parametrize(
    ("vendor", "product", "hypervisor", "cpuinfo", "expected"),
    [
        ("QEMU", "Standard PC", None, "flags : fpu hypervisor", "QEMU"),
        ("Amazon EC2", "m5.large", None, "flags : fpu hypervisor", "Amazon EC2"),
        ("Amazon EC2", "m5.metal", None, "flags : fpu", None),
        ("Dell Inc.", "PowerEdge R640", None, "flags : fpu vme", None),
        (None, None, "xen", None, "xen"),
        (None, None, None, "flags : hypervisor", "hypervisor"),
    ],
)
def test_virtualisation_hint(vendor, product, hypervisor, cpuinfo, expected):
    assert machine.virtualisation(vendor, product, hypervisor, cpuinfo) == expected


SOFTNET_4_4 = """\
00a7c3f1 00000002 00000011 00000000 00000000 00000000 00000000 00000000 00000000 00000007 00000003
00b1d202 00000000 00000005 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
"""
SOFTNET_5_10_CPU_1_OFFLINE = """\
0000308f 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
00007324 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000004 00000002
"""


def test_softnet_before_5_10_takes_the_cpus_that_are_online_and_says_so():
    found = softnet.parse(SOFTNET_4_4, online=[0, 3])
    assert found["cpu_from"] == "online_list"
    assert found["cpus"]["3"]["processed"] == 0xB1D202
    assert found["cpus"]["0"] == {"processed": 0xA7C3F1, "dropped": 2, "time_squeeze": 0x11, "received_rps": 7, "flow_limit": 3}


def test_softnet_row_is_not_the_cpu():
    found = softnet.parse(SOFTNET_5_10_CPU_1_OFFLINE)
    assert found["cpu_from"] == "column"
    assert sorted(found["cpus"]) == ["0", "2"]
    assert found["cpus"]["2"]["backlog"] == 4


@pytest.mark.parametrize("online", [None, [0], [0, 1, 2]])
def test_softnet_does_not_guess_which_row_is_which_cpu(online):
    with pytest.raises(Unavailable, match="unknown"):
        softnet.parse(SOFTNET_4_4, online)


def test_softirqs_with_a_cpu_missing():
    found = softirqs.parse(
        "                    CPU0       CPU2\n          HI:          1          0\n      NET_RX:      17802      21888\n"
    )
    assert found == {"cpus": [0, 2], "vectors": {"HI": [1, 0], "NET_RX": [17802, 21888]}}


INTERRUPTS = """\
           CPU0       CPU1
  0:         42          0  IR-IO-APIC    2-edge      timer
 38:          0      10580  PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0
 63:          7          9  IR-PCI-MSI 1572864-edge      eth0-TxRx-0
 64:          7          0  IR-PCI-MSI 524289-edge      mlx5_comp0@pci:0000:01:00.0
 71:          3          4  GICv3  75 Level     nvme0q1
 80:          5          6  IR-PCI-MSI 1-edge      odd-name
NMI:          0          0   Non-maskable interrupts
ERR:          0
"""


def test_interrupts_of_network_devices_only():
    lines = interrupts.parse(INTERRUPTS, names=["eth0"])["lines"]
    assert {irq: line["name"] for irq, line in lines.items()} == {
        "38": "virtio2-input.0",
        "63": "eth0-TxRx-0",
        "64": "mlx5_comp0@pci:0000:01:00.0",
    }
    assert lines["64"]["counts"] == {"0": 7}


def test_interrupts_of_an_interface_whose_name_begins_another():
    content = "      CPU0\n 9:   1  PCI-MSI 1-edge  eth10-xyz\n 8:   1  PCI-MSI 1-edge  eth1-xyz\n"
    assert list(interrupts.parse(content, names=["eth1"])["lines"]) == ["8"]


def test_interrupts_are_bounded(monkeypatch):
    monkeypatch.setattr(interrupts, "MOST_LINES", 2)
    found = interrupts.parse("   CPU0\n" + "".join(f"{n}: 1 PCI-MSI {n}-edge eth0-rx-{n}\n" for n in range(5)), names=["eth0"])
    assert (len(found["lines"]), found["omitted"]) == (2, 3)


def test_interrupts_of_a_host_with_hundreds_of_cpus(tmp_path, monkeypatch):
    """Every line has a number for each CPU: what is read of the file must not end within them."""
    header = "".join(f"{f'CPU{cpu}':>11}" for cpu in range(512))
    lines = [f"{irq:>4}:{'0' * 11:>11}" + f"{7:>11}" * 511 + f"  IR-PCI-MSI {irq}-edge      eth0-TxRx-{irq}\n" for irq in range(1000)]
    path = tmp_path / "interrupts"
    path.write_text("     " + header + "\n" + "".join(lines))
    assert path.stat().st_size > source.LIMIT
    monkeypatch.setattr(interrupts, "PATH", str(path))
    assert (len(interrupts.read()["lines"]), interrupts.read()["omitted"]) == (512, 488)


def test_only_interfaces_of_a_device_have_interrupts(tmp_path, monkeypatch):
    (tmp_path / "eth0/device").mkdir(parents=True)
    (tmp_path / "veth1").mkdir()
    (tmp_path / "bonding_masters").write_text("")
    monkeypatch.setattr(interrupts, "SYS_NET", str(tmp_path))
    assert interrupts._with_device() == ["eth0"]


def test_run_delay_that_the_kernel_does_not_account_is_not_zero(monkeypatch):
    """Without scheduler statistics schedstat reads "0 0 0" (fs/proc/base.c)."""
    idle = {"name": "ksoftirqd/0", "run_ns": 0, "run_delay_ns": 0, "timeslices": 0}
    monkeypatch.setattr(threads, "_packet_threads", lambda: (["12"], True))
    monkeypatch.setattr(threads, "_thread", lambda pid: idle)
    with pytest.raises(Unavailable, match="does not account run delay"):
        threads.read()
    monkeypatch.setattr(threads, "_thread", lambda pid: {**idle, "run_ns": 7, "timeslices": 1})
    assert threads.read()["complete"]


def test_thread_stat_survives_any_name():
    fields = ["S", "2"] + ["0"] * 14 + ["-5"] + ["0"] * 19 + ["3", "50", "1"] + ["0"] * 11
    found = threads.parse_stat("77 (napi/x) (R) y) " + " ".join(fields))
    assert found == {"policy": "fifo", "rt_priority": 50, "nice": -5, "last_cpu": 3}


def test_schedstat():
    assert threads.parse_schedstat("207949375 26228719 427\n") == {"run_ns": 207949375, "run_delay_ns": 26228719, "timeslices": 427}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "some avg10=0.61 avg60=1.06 avg300=1.59 total=44146779\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
            {
                "some": {"avg10": 0.61, "avg60": 1.06, "avg300": 1.59, "total": 44146779},
                "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 7},
            },
        ),
        (
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",  # cpu before 5.13 has no full
            {"some": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 5}},
        ),
    ],
)
def test_pressure(content, expected):
    assert pressure.parse(content) == expected


def test_sockets():
    assert sockets.parse("sockets: used 17\nTCP: inuse 1 orphan 0 tw 4 alloc 3 mem 202\n") == {
        "sockets": {"used": 17},
        "TCP": {"inuse": 1, "orphan": 0, "tw": 4, "alloc": 3, "mem": 202},
    }


def test_dentries():
    assert dentries.parse("177902\t175645\t45\t0\t46402\t0\n")["negative"] == 46402


@pytest.mark.parametrize(
    ("line", "steal"),
    [("cpu1 10 0 5 100 1 2 3 44 6 7", 44), ("cpu1 10 0 5 100 1 2 3", 0)],
)
def test_cpu_time_counts_guests_once(line, steal):
    found = cpu.parse(f"cpu  1 1 1 1 1 1 1 1 1 1\n{line}\nintr 5\n")
    assert found == {"1": {"irq": 2, "softirq": 3, "steal": steal, "idle": 100, "total": 121 + steal}}


@pytest.mark.parametrize(("before", "expected"), [(0, {}), (3, {"0": 7, "1": 0})])
def test_stolen_time_is_sampled_where_some_was_ever_stolen(monkeypatch, before, expected):
    monkeypatch.setattr(cpu, "text", lambda path: "cpu0 1 0 5 100 1 2 3 7\ncpu1 1 0 5 100 1 2 3 0\n")
    assert cpu.sample({"cpus": {"0": {"steal": 0}, "1": {"steal": before}}}) == expected


CONNTRACK_3_10 = """\
entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
0000002a  00000000 00000001 00000000 00000002 00000000 00000000 00000000 00000000 00000000 00000010 00000000 00000000  00000000 00000000 00000000 00000000
0000002a  00000000 00000001 00000000 00000003 00000000 00000000 00000000 00000000 00000000 00000001 00000004 00000000  00000000 00000000 00000000 00000000
"""  # noqa: E501


def test_conntrack_sums_the_cpus():
    found = conntrack.parse(CONNTRACK_3_10)
    assert (found["invalid"], found["drop"], found["early_drop"]) == (5, 17, 4)
    assert "clash_resolve" not in found


def test_conntrack_under_the_names_that_kernels_from_5_15_give_its_columns():
    content = (
        "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new "
        "expect_create expect_delete search_restart\n"
        "0000002a  00000007 00000000 00000000 00000000 00000000 00000000 00000003 00000000 00000000 00000000 00000000 00000005  00000000 "
        "00000000 00000000 00000009\n"
    )
    found = conntrack.parse(content)
    assert (found["clash_resolve"], found["chain_toolong"], found["error"], found["search_restart"]) == (7, 3, 5, 9)


def test_ipvs():
    content = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> C0A8000B:192B      Masq    1      0          0
  -> C0A8000C:192B      Masq    1      0          0
UDP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0035 rr
  -> [2001:0db8:0000:0000:0000:0000:0000:0002]:0035      Masq    1      0          0
FWM  00000001 wlc
"""
    assert ipvs.parse(content) == {"services": 3, "destinations": 3}


NEIGHBOURS_3_10 = """\
entries  allocs destroys hash_grows  lookups hits  res_failed  rcv_probes_mcast rcv_probes_ucast  periodic_gc_runs forced_gc_runs unresolved_discards
0000002a  00000003 00000001 00000000  00000005 00000004  00000000  00000000 00000000  000000b7 00000010 00000000
0000002a  00000002 00000000 00000000  00000005 00000004  00000000  00000000 00000000  00000000 00000001 00000000
"""  # noqa: E501


def test_neighbours_have_the_entries_of_the_table_and_the_sums_of_the_cpus():
    found = neighbours.parse(NEIGHBOURS_3_10)
    assert (found["entries"], found["allocs"], found["forced_gc_runs"], found["periodic_gc_runs"]) == (42, 5, 17, 183)
    assert "table_fulls" not in found
    assert neighbours.parse("") == {}


def test_netstat_has_names_and_numbers_in_lines_of_their_own():
    content = "TcpExt: SyncookiesSent PruneCalled TCPRcvCollapsed\nTcpExt: 1 22 333\nIpExt: PruneCalled InOctets\nMPTcpExt: 7 8\n"
    assert netstat.parse(content) == {"PruneCalled": 22, "TCPRcvCollapsed": 333}


def test_vmstat_keeps_what_can_stall():
    assert vmstat.parse("nr_free_pages 7\ncompact_stall 2\ndrop_slab 1\nnr_anon_pages x\n") == {"compact_stall": 2, "drop_slab": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3,8\n", [0, 1, 2, 3, 8]), ("0\n", [0]), ("\n", []), ("2-2,64-65", [2, 64, 65])],
)
def test_cpu_lists(text, expected):
    assert source.cpus_of_list(text) == expected


@given(st.sets(st.integers(min_value=0, max_value=400)))
def test_cpu_masks(cpus):
    bits = f"{sum(1 << cpu for cpu in cpus):x}"
    bits = bits.rjust(-(-len(bits) // 8) * 8, "0")
    mask = ",".join(bits[at : at + 8] for at in range(0, len(bits), 8))
    assert source.cpus_of_mask(mask) == sorted(cpus)


@example("0 \u00b2")
@given(st.text(max_size=300))
def test_parsers_never_hang_or_exit_on_garbage(text):
    for parse in (
        softnet.parse,
        softirqs.parse,
        interrupts.parse,
        pressure.parse,
        sockets.parse,
        cpu.parse,
        conntrack.parse,
        cgroups.parse,
    ):
        try:
            parse(text)
        except (Unavailable, ValueError, KeyError, IndexError):
            pass
    kernel_log.select([text], 1.0)
    cgroupfs.keyed_numbers(text)


def test_a_missing_file_is_unavailable_with_path_and_reason():
    with pytest.raises(Unavailable, match="/proc/no/such/file: No such file or directory"):
        source.text("/proc/no/such/file")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's files")
@pytest.mark.parametrize("name", sorted(counters.READERS))
def test_reads_on_this_machine(name):
    """Each reader reads, or says why it can't: nothing else leaves it."""
    reader = counters.READERS[name]
    try:
        found = reader.read()
    except Unavailable as reason:
        assert str(reason)
        return
    assert found
    json.dumps(found, allow_nan=False)
    if hasattr(reader, "sample"):
        assert all(isinstance(number, int) for number in reader.sample(found).values())
