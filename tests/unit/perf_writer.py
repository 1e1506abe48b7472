"""Writes perf.data files, of either byte order, so that the reader can be tested where there is no perf, and on what perf rarely writes."""

import struct

KERNEL, USER = (1 << 64) - 128, (1 << 64) - 512
IP, TID, TIME, READ, CALLCHAIN, ID, CPU, PERIOD, IDENTIFIER = (1 << bit for bit in (0, 1, 2, 4, 5, 6, 7, 8, 16))
USUAL = IP | TID | TIME | CPU | PERIOD | CALLCHAIN | IDENTIFIER
ROUND = 68


class Writer:
    """`events`: (type, config, sample_type, read_format) of each; its identifier is its number plus 1."""

    def __init__(self, order="<", events=((1, 0, USUAL, 0),)):
        self.order = order
        self.events = events
        self.records = []

    def pack(self, codes, *values):
        return struct.pack(self.order + codes, *values)

    def record(self, kind, body, misc=0):
        self.records.append(self.pack("IHH", kind, misc, len(body) + 8) + body)

    def trailer(self, tid, time, cpu=0):
        kinds = self.events[0][2]
        parts = ((TID, "ii", (tid, tid)), (TIME, "Q", (time,)), (ID, "Q", (1,)), (CPU, "Ii", (cpu, 0)), (IDENTIFIER, "Q", (1,)))
        return b"".join(self.pack(code, *values) for bit, code, values in parts if kinds & bit)

    def comm(self, tid, comm, time=0):
        name = comm.encode()[:15]
        self.record(3, self.pack("ii", tid, tid) + name.ljust(len(name) // 8 * 8 + 8, b"\0") + self.trailer(tid, time))

    def fork(self, parent, tid, time):
        self.record(7, self.pack("4iQ", tid, parent, tid, parent, time) + self.trailer(parent, time))

    def lost(self, count):
        self.record(2, self.pack("QQ", 1, count) + self.trailer(0, 0))

    def sample(self, time, cpu, tid, kernel=(), user=(), event=0, pid=None):
        """Chains innermost first, as the kernel writes them."""
        kinds, read_format = self.events[event][2:]
        chain = [*((KERNEL, *kernel) if kernel else ()), *((USER, *user) if user else ())]
        parts = (
            (IDENTIFIER, "Q", (event + 1,)),
            (IP, "Q", ((kernel or user or (0,))[0],)),
            (TID, "ii", (tid if pid is None else pid, tid)),
            (TIME, "Q", (time,)),
            (ID, "Q", (event + 1,)),
            (CPU, "II", (cpu, 0)),
            (PERIOD, "Q", (1001001,)),
        )
        body = b"".join(self.pack(code, *values) for bit, code, values in parts if kinds & bit)
        if kinds & READ:
            numbers = [7] * (1 + bool(read_format & 1) + bool(read_format & 2) + bool(read_format & 4))
            if read_format & 8:
                numbers = [2, *([7] * (bool(read_format & 1) + bool(read_format & 2))), *([7] * (1 + bool(read_format & 4)) * 2)]
            body += self.pack(f"{len(numbers)}Q", *numbers)
        if kinds & CALLCHAIN:
            body += self.pack(f"{len(chain) + 1}Q", len(chain), *chain)
        self.record(9, body, misc=1 if kernel else 2)

    def attr(self, event):
        kind, config, sample_type, read_format = event
        sample_id_all, frequency = 18, 10
        bits = [1 << (bit if self.order == "<" else 63 - bit) for bit in (sample_id_all, frequency)]
        return self.pack("IIQQQQQ", kind, 112, config, 999, sample_type, read_format, sum(bits)).ljust(112, b"\0")

    def file(self, data_bytes=None):
        """`data_bytes`: what the header says, 0 as of a perf that was killed."""
        ids_at = 104
        ids = b"".join(self.pack("Q", number + 1) for number in range(len(self.events)))
        attrs_at = ids_at + len(ids)
        attrs = b"".join(self.attr(event) + self.pack("QQ", ids_at + 8 * number, 8) for number, event in enumerate(self.events))
        data, data_at = b"".join(self.records), attrs_at + len(attrs)
        size = len(data) if data_bytes is None else data_bytes
        head = self.pack("QQ9Q", *self.magic(104), 128, attrs_at, len(attrs), data_at, size, 0, 0, 0, 0)
        return head.ljust(104, b"\0") + ids + attrs + data

    def pipe(self):
        attrs = [
            self.pack("IHH", 64, 0, 8 + 112 + 8) + self.attr(event) + self.pack("Q", number + 1) for number, event in enumerate(self.events)
        ]
        tracing = self.pack("IHH", 66, 0, 12) + self.pack("I", 13) + b"\x09" * 16
        return self.pack("QQ", *self.magic(16)) + b"".join(attrs) + tracing + b"".join(self.records)

    def magic(self, size):
        return 0x32454C4946524550, size


def kallsyms(names, start=0xFFFFFFFF81000000, step=0x100):
    """The text of a /proc/kallsyms with these functions, and the address in the middle of each."""
    lines = [f"{start + step * number:016x} t {name}" for number, name in enumerate(names)]
    end = start + step * len(names)
    text = "\n".join([*lines, f"{end:016x} T _etext", f"{end:016x} D _sdata", ""])
    return text, {name: start + step * number + step // 2 for number, name in enumerate(names)}
