# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bpftrace program of a capture, made for one host: who handled each probe, and which system calls kept a CPU for long.

What handled probes goes into maps that are printed four times a second: a line at a time would wake bpftrace up for each probe, on the CPU
and in the path that is being measured. Of two maps, one is filled while the other is printed. The time tells which, since each look at a
map is one more miss of the cache in that path.

What costs is reading memory, which each packet of the host pays for at every device that it passes: so our echo requests are known by
their length, which the tracepoint has at hand, then by one word of 64 bits.

Fields of struct sk_buff: __netif_receive_skb_core, where the tracepoint is, has skb->data at the network header; icmp_rcv, before
icmp_echo, has the transport header set. Constants are in the byte order of the host, since the kernel's words are read as they lie.
"""

import ipaddress
import socket
import struct
import sys
from typing import Any, Dict, List, Sequence, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import wire
from ansible_collections.fleet.stall.plugins.module_utils.capture import callprogram

TURN_MS = 250
# A map is filled for 2^28 ns, which is longer than a turn: so each is printed before it is filled again.
FILLED_BITS = 28
# Probes are shorter; a host's bulk traffic is not looked at any further.
LONGEST_PACKET = 1200
FIRST_MAP = f"($n >> {FILLED_BITS}) & 1"
# TCP rows in a turn: others may talk to a probed port from a probed source as well.
TCP_ROWS = 1000
# Names of files are cut off here: a BPF program has 512 bytes of stack, and four names on it.
NAME_BYTES = 40
HEADERS = ("linux/skbuff.h", "linux/netdevice.h", "net/net_namespace.h")


def program(
    source: str,
    token: int,
    flows: Sequence[Dict[str, Any]],
    netns: int,
    slow_call_ms: float,
    mark: str,
    btf: bool = True,
    passed_over: Sequence[int] = (),
) -> str:
    """The program's text. `source`: "tracepoint" or "kprobe"; `netns`: inode of this host's network namespace; 0 ms: no slow calls.

    The calls of the processes `passed_over` are not looked at.

    Without `btf`, the kernel's types come from its headers, which must be installed then.

    `mark` opens each line: names of processes and files are anybody's to choose, and may hold line feeds.
    Lines that it prints (numbers in decimal, packet words as they lie in memory):
    ``@rMARKa[NSECS, CPU, PID, TID, KIND, WORD, WORDS]: COMM`` a handled probe, in no order: KIND 0, an echo request, with 0, FLOW and
    NUMBER; KIND 4 or 6, a SYN or a segment with data, with the last word of the source ADDRESS, PORTS and SEQUENCE. WORDS are two in
    one number of 64 bits, with a sign.
    ``MARKh NSECS TCP`` after all probes that were handled before the last of these; how many TCP rows there were to be written in
    this turn, of which TCP_ROWS were.
    ``@lMARK[PID]: CALLS`` and ``@nMARK: CALLS`` how many system calls were looked at in this turn, in COUNTED_SHARE: of the loudest
    processes, then of all.
    ``MARKc START NSECS ON_CPU CPU PID TID CALL COMPAT FD COMM|FSTYPE|NAME|PARENT|..`` a slow call; COMPAT not 0: made by the 32-bit ABI.
    """
    parts = [_kprobe(token, netns)] if source == "kprobe" else [_tracepoint(token, flows, netns)]
    if slow_call_ms:
        parts.append(callprogram.program(slow_call_ms, TURN_MS, passed_over))
    parts.append(_turn())
    if not btf:
        parts.insert(0, "\n".join(f"#include <{header}>" for header in HEADERS + (callprogram.HEADERS if slow_call_ms else ())))
    text = "\n".join(parts).replace('printf("', f'printf("{mark}')
    for name, letter in (("@rows", "r"), ("@calls", "n"), ("@loud", "l")):
        text = text.replace(name, f"@{letter}{mark}")
    return text + "\n"


def _turn() -> str:
    """Print one map while the other is filled, then the heartbeat."""
    return f"""interval:ms:{TURN_MS} {{
  $n = nsecs;
  $tcp = @tcp;
  @tcp = (uint64)0;
  if (({FIRST_MAP}) == 0) {{ print(@rowsb); clear(@rowsb); }} else {{ print(@rowsa); clear(@rowsa); }}
  printf("h %lu %lu\\n", $n, $tcp);
}}"""


def filled_until(at_ns: int) -> int:
    """Until when the map is filled that is filled at that time."""
    return ((at_ns >> FILLED_BITS) + 1) << FILLED_BITS


def _row(kind: int, *words: str) -> str:
    key = f"[$n, cpu, pid, tid, {kind}, {', '.join(words)}] = comm;"
    return f"$n = nsecs; if (({FIRST_MAP}) == 0) {{ @rowsa{key} }} else {{ @rowsb{key} }}"


def word(packed: bytes) -> int:
    """The number that the host's CPU makes of bytes in the order of the network."""
    return int.from_bytes(packed, sys.byteorder)


def _echo(header: str, kind: int, token: int, netns: int) -> str:
    """A row for an echo request of ours to this host; `$ours` says whether it was one, or the answer to one, to whomever."""
    magic, wanted = word(struct.pack("!I", wire.MAGIC)), word(struct.pack("!I", token & 0xFFFFFFFF))
    lower, upper = (magic, wanted) if sys.byteorder == "little" else (wanted, magic)
    return f"""
    $e = (uint8 *)({header});
    $w = *(uint64 *)($e + 8);
    if (($w & 0xffffffff) == {lower} && ($w >> 32) == {upper}) {{
      $ours = 1;
      if (*$e == {kind} && $skb->dev->nd_net.net->ns.inum == {netns}) {{
        {_row(0, "(uint32)0", "*(uint64 *)($e + 16)")}
      }}
    }}"""


HEADER_BYTES = {4: 20, 6: 40}


def _tracepoint(token: int, flows: Sequence[Dict[str, Any]], netns: int) -> str:
    echoes = {HEADER_BYTES[family] + wire.ECHO_SIZE: family for family in (4, 6) if _asked(flows, family, "icmp")}
    parts = [
        f"\n  if (args->len == {length}) {{{_echo(f'$h + {HEADER_BYTES[family]}', wire.ECHO[family], token, netns)}\n  }}"
        for length, family in echoes.items()
    ]
    tcp = {family: _tcp_part(family, flows, netns) for family in (4, 6)}
    segments = "".join(_segments(family, part) for family, part in tcp.items() if part)
    if segments:
        parts.append(f"\n  if ($ours == 0) {{\n    $p = $skb->protocol;{segments}\n  }}")
    lengths = f"args->len < {LONGEST_PACKET}" if segments else " || ".join(f"args->len == {length}" for length in echoes)
    return f"""tracepoint:net:netif_receive_skb /{lengths or "args->len == 0"}/ {{
  $skb = (struct sk_buff *)args->skbaddr;
  $h = (uint8 *)$skb->data;
  $ours = 0;{"".join(parts)}
}}"""


def _asked(flows: Sequence[Dict[str, Any]], family: int, protocol: str) -> bool:
    return any(flow["family"] == family and flow["protocol"] == protocol for flow in flows)


ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
PROTOCOL_AT = {4: 9, 6: 6}


def _segments(family: int, part: str) -> str:
    length = "(*$h & 15) * 4" if family == 4 else f"{HEADER_BYTES[6]}"
    return f"""
    if ($p == {word(ETHERTYPES[family])} && *($h + {PROTOCOL_AT[family]}) == 6) {{
      $l = {length};{part}
    }}"""


def _tcp_part(family: int, flows: Sequence[Dict[str, Any]], netns: int) -> str:
    ends = tcp_ends(flows, family)
    if not ends:
        return ""
    matches = "\n          || ".join(_match(address, port) for address, port in ends)
    length = "(*($h + 2) * 256 + *($h + 3))" if family == 4 else "(40 + *($h + 4) * 256 + *($h + 5))"
    # The words of the source address: the last one tells sources apart, so nothing but it is compared and printed.
    return f"""
      $t = $h + $l;
      $a = *(uint32 *)($h + {12 if family == 4 else 20});
      $d = *(uint16 *)($t + 2);
      $f = *($t + 13);
      if ({matches}) {{
        if (($f & 18) == 2 || (($f & 2) == 0 && {length} > $l + (*($t + 12) >> 4) * 4)) {{
          if ($skb->dev->nd_net.net->ns.inum == {netns}) {{
            $rows = @tcp;
            @tcp = $rows + 1;
            if ($rows < {TCP_ROWS}) {{
              {_row(family, "$a", "*(uint64 *)$t")}
            }}
          }}
        }}
      }}"""


def _match(address: int, port: int) -> str:
    ours = f"$d == {port}"
    return f"({ours} && $a == (uint32){address})" if address else f"({ours} && ($f & 18) == 2)"


def tcp_ends(flows: Sequence[Dict[str, Any]], family: int) -> List[Tuple[int, int]]:
    """(last word of the source address or 0 where it is not known, port) of the TCP flows, as the host's CPU reads them."""
    found = set()
    for flow in flows:
        if flow["protocol"] != "icmp" and flow["family"] == family:
            found.add((address_word(flow.get("source_address")), word(struct.pack("!H", flow["port"]))))
    return sorted(found)


def address_word(address: Any) -> int:
    """The last 32 bits of an address as the host's CPU reads them; 0 for None."""
    if address is None:
        return 0
    parsed = ipaddress.ip_address(address)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    return word(socket.inet_pton(family, str(parsed))[-4:])


def _kprobe(token: int, netns: int) -> str:
    """For kernels whose tracepoint can't be used: echo requests over IPv4 only."""
    return f"""kprobe:icmp_echo {{
  $skb = (struct sk_buff *)arg0;
  $ours = 0;{_echo("$skb->head + $skb->transport_header", wire.ECHO[4], token, netns)}
}}"""
