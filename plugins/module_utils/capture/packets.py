# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the probes passed this host, by tcpdump: headers only, nothing but the probes of the plan, bounded in number, size and time.

The same on both ends gives the delay of each packet on its way. Only probes that carry their number are seen: ICMP echo (in our payload)
and TCP SYN (in the sequence number). File formats: pcap-savefile(5) and the link types of tcpdump.org.
"""

import ipaddress
import os
import re
import struct
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils import sockets, wire
from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import LIMIT

SNAPLEN = 96  # link header of any kind, IPv6 header and our echo
RECORD_BYTES = 16 + SNAPLEN
# A packet may be seen on a bridge, its port and a bond.
SIGHTINGS = 4
MOST_PORTS = 64

# magic: (byte order, nanoseconds per unit)
MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
FILE_HEADER = 24
# Link type: (length of the header, where in it the EtherType is; None: the IP header comes at once)
LINKS = {1: (14, 12), 113: (16, 14), 276: (20, 0), 12: (0, None), 14: (0, None), 101: (0, None), 228: (0, None), 229: (0, None)}
VLANS = (0x8100, 0x88A8)
ETHERTYPES = {0x0800: 4, 0x86DD: 6}
ICMP, TCP = {4: 1, 6: 58}, 6


class Probe(NamedTuple):
    """A packet that may be a probe of ours: an echo request with its payload, or a SYN."""

    family: int
    source: bytes
    target: bytes
    echo: Optional[wire.Echo]
    ports: Tuple[int, int]
    sequence: int


def capability() -> Dict[str, Any]:
    """The row `packets` of `capabilities`."""
    path = bounded.find("tcpdump")
    if path is None:
        return sockets.capability(False, None, "tcpdump is not installed: install the package tcpdump")
    if os.geteuid() != 0:
        return sockets.capability(False, None, "tcpdump as this user sees nothing: capture as root (stall_become)")
    return sockets.capability(True, path)


def expression(flows: Iterable[Dict[str, Any]], token: Optional[int]) -> str:
    """The pcap filter for these flows; "" if none of them has numbered probes. Raises ValueError for what is no address or number.

    Echo requests are known by magic and token, SYNs by ports and addresses. Every value was a number or an IP address before it is spelled.
    """
    echoes, syns = set(), []
    for flow in flows:
        if flow["protocol"] == "icmp":
            echoes.add(int(flow["family"]))
        elif flow["protocol"] == "tcp_syn":
            syns.append(_syn(flow))
    parts = [_echo(family, token) for family in sorted(echoes)]
    distinct = sorted(set(syns))
    # So long a filter is not worth it: then any SYN to one of the ports, and the address is looked at later.
    parts += distinct if len(distinct) <= MOST_PORTS else sorted({part.partition(" and src")[0] for part in distinct})
    return " or ".join(f"({part})" for part in parts)


def _echo(family: int, token: Optional[int]) -> str:
    # Before libpcap 1.9 there are no offsets into ICMPv6, so they count from the IPv6 header.
    at = "icmp[{}]" if family == 4 else "ip6[{}]"
    start = 0 if family == 4 else 40
    words = [("icmp" if family == 4 else "icmp6"), f"{at.format(start)} = {wire.ECHO[family]}"]
    words.append(f"{at.format(f'{start + 8}:4')} = {wire.MAGIC}")
    if token is not None:
        words.append(f"{at.format(f'{start + 12}:4')} = {int(token)}")
    return " and ".join(words)


def _syn(flow: Dict[str, Any]) -> str:
    family = int(flow["family"])
    flags = "tcp[13] & 0x12 = 2" if family == 4 else "ip6[6] = 6 and ip6[53] & 0x12 = 2"
    text = f"{'ip' if family == 4 else 'ip6'} and {flags} and dst port {int(flow['port'])}"
    if flow.get("source_port"):
        text += f" and src port {int(flow['source_port'])}"
    if flow.get("source_address"):
        text += f" and src host {ipaddress.ip_address(flow['source_address'])}"
    return text


def records(data: bytes) -> Iterator[Tuple[int, int, bytes]]:
    """(time in epoch ns, link type, bytes) of each whole record of a pcap file; ends at what makes no sense."""
    order, unit = MAGICS.get(data[:4], ("", 0))
    if not order or len(data) < FILE_HEADER:
        return
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF  # the upper half says how long the checksum is
    header = struct.Struct(order + "IIII")
    offset = FILE_HEADER
    while offset + header.size <= len(data):
        seconds, fraction, captured, _length = header.unpack_from(data, offset)
        offset += header.size
        if captured > len(data) - offset:
            return
        yield seconds * 1000000000 + fraction * unit, link, data[offset : offset + captured]
        offset += captured


def probe_of(link: int, frame: bytes) -> Optional[Probe]:
    """The probe in a frame; None for any other, or a broken one."""
    start = _ip_offset(link, frame)
    if start is None or len(frame) <= start:
        return None
    family = frame[start] >> 4
    if family == 4 and len(frame) >= start + 20:
        protocol, above = frame[start + 9], start + (frame[start] & 15) * 4
        source, target = frame[start + 12 : start + 16], frame[start + 16 : start + 20]
    elif family == 6 and len(frame) >= start + 40:
        protocol, above = frame[start + 6], start + 40
        source, target = frame[start + 8 : start + 24], frame[start + 24 : start + 40]
    else:
        return None
    if protocol == ICMP[family]:
        echo = wire.parse_echo(frame, above)
        return Probe(family, source, target, echo, (0, 0), 0) if echo and echo.kind == wire.ECHO[family] else None
    if protocol == TCP and len(frame) >= above + 14 and frame[above + 13] & (wire.SYN | wire.ACK) == wire.SYN:
        local, remote, sequence = struct.unpack_from("!HHI", frame, above)
        return Probe(family, source, target, None, (local, remote), sequence)
    return None


def _ip_offset(link: int, frame: bytes) -> Optional[int]:
    if link not in LINKS:
        return None
    length, at = LINKS[link]
    if at is None:
        return 0
    while len(frame) >= length:
        kind = struct.unpack_from("!H", frame, at)[0]
        if kind in ETHERTYPES:
            return length
        if kind not in VLANS:
            return None
        # The tag is followed by the EtherType of what it holds.
        at, length = length + 2, length + 4
    return None


class Matcher:
    """Which flow a probe belongs to, and its number."""

    def __init__(self, flows: Iterable[Dict[str, Any]], token: Optional[int]) -> None:
        self._token = token
        self._echoes: Dict[int, int] = {}
        self._syns: Dict[Tuple[int, int], List[Tuple[int, Optional[bytes], Optional[int]]]] = {}
        for flow in flows:
            if flow["protocol"] == "icmp":
                self._echoes[flow["id"]] = flow["family"]
            elif flow["protocol"] == "tcp_syn":
                address = flow.get("source_address")
                packed = ipaddress.ip_address(address).packed if address else None
                self._syns.setdefault((flow["family"], flow["port"]), []).append((flow["id"], packed, flow.get("source_port")))

    def match(self, probe: Probe) -> Optional[Tuple[int, int]]:
        """(flow, number); None if it is none of ours. SYNs have a number only if the token is known."""
        if probe.echo is not None:
            known = self._echoes.get(probe.echo.flow_id) == probe.family and self._token in (None, probe.echo.token)
            return (probe.echo.flow_id, probe.echo.number) if known else None
        if self._token is None:
            return None
        for flow, address, port in self._syns.get((probe.family, probe.ports[1]), []):
            if address in (None, probe.source) and port in (None, probe.ports[0]):
                return flow, (probe.sequence - wire.first_sequence(self._token, flow)) & 0xFFFFFFFF
        return None


def rows_of(data: bytes, flows: Iterable[Dict[str, Any]], token: Optional[int]) -> List[Dict[str, Any]]:
    """{flow, number, at_ns} of each probe in a pcap file, in the order of time; of one seen on several interfaces, the first sighting."""
    matcher = Matcher(flows, token)
    first: Dict[Tuple[int, int], int] = {}
    for at_ns, link, frame in records(data):
        probe = probe_of(link, frame)
        key = matcher.match(probe) if probe else None
        if key is not None:
            first[key] = min(at_ns, first.get(key, at_ns))
    return [{"flow": flow, "number": number, "at_ns": at_ns} for (flow, number), at_ns in sorted(first.items(), key=lambda row: row[1])]


def columns(rows: Iterable[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """`packets` of capture.json: by flow, each column as its first value and then the steps, which pack to a tenth of the rows."""
    flows: Dict[int, List[Dict[str, Any]]] = {}
    for row in rows:
        flows.setdefault(row["flow"], []).append(row)
    return [
        {"flow": flow, "numbers": _steps([row["number"] for row in seen]), "at_us": _steps([row["at_ns"] // 1000 for row in seen])}
        for flow, seen in sorted(flows.items())
    ]


def _steps(values: List[int]) -> List[int]:
    return [value - before for before, value in zip([0] + values, values)]


class Stage:
    """`start`, `poll` every some 50 ms, `finish`; once each.

    `reason`: why there is nothing, None if there is. `missed`: how many packets tcpdump came too late for.
    """

    def __init__(self, flows: List[Dict[str, Any]], seconds: float, max_bytes: int, workdir: str, token: Optional[int] = None) -> None:
        self.flows, self.seconds, self.token = flows, seconds, token
        self.max_bytes = min(max_bytes, 8 * LIMIT)
        self.output = os.path.join(os.path.abspath(workdir), "probes.pcap")
        self.reason: Optional[str] = "packets were not asked for"
        self.missed = 0
        self._tool: Optional[bounded.Tool] = None

    def start(self) -> bool:
        self.reason = capability()["reason"]
        if self.reason:
            return False
        try:
            chosen = expression(self.flows, self.token)
        except (KeyError, TypeError, ValueError) as error:
            self.reason = f"the plan's flows make no filter: {error}"
            return False
        if not chosen:
            self.reason = "no flow of the plan carries numbered packets (icmp, tcp_syn)"
            return False
        # -p: the interface stays as it is. -Z root: a change of user would undo that the kernel ends it with us.
        argv = [bounded.find("tcpdump") or "tcpdump", "-n", "-p", "-i", "any", "-Z", "root", "-s", str(SNAPLEN), "--immediate-mode", "-U"]
        argv += ["-c", str(self._most()), "-w", "-", chosen]
        try:
            self._tool = bounded.Tool(argv, self.seconds, self.max_bytes, self.output, to_stdout=True)
        except OSError as error:
            self.reason = f"tcpdump: {error.strerror or error}"
        return self._tool is not None

    def _most(self) -> int:
        rate = sum(1000.0 / flow["interval_ms"] for flow in self.flows if flow.get("interval_ms"))
        return max(1, min(int(rate * (self.seconds + 1) * SIGHTINGS), self.max_bytes // RECORD_BYTES))

    def poll(self) -> bool:
        """Whether it still runs. Never waits."""
        return self._tool is not None and self._tool.poll()

    def finish(self) -> Optional[List[Dict[str, Any]]]:
        """The rows, or None, with `reason`. Waits at most some two seconds."""
        if self._tool is None:
            return None
        self._tool.finish()
        try:
            with open(self.output, "rb") as file:
                data = file.read(self.max_bytes)
        except OSError as error:
            data, self.reason = b"", f"{self.output}: {error.strerror or error}"
        if len(data) < FILE_HEADER:
            self.reason = self.reason or self._tool.complaint() or f"tcpdump ended with code {self._tool.code} and without a word"
        missed = re.search(r"(\d+) packets? dropped by kernel", self._tool.complaint())
        self.missed = int(missed.group(1)) if missed else 0
        self._tool.discard()
        return None if self.reason else rows_of(data, self.flows, self.token)
