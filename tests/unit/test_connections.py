"""What a service sends without being asked to: it may cost its own flow, and no other."""

from ansible_collections.fleet.stall.plugins.module_utils.lateness import Lateness
from ansible_collections.fleet.stall.plugins.module_utils.probes import connection
from ansible_collections.fleet.stall.plugins.module_utils.probes.flow import Shared
from ansible_collections.fleet.stall.plugins.module_utils.probes.responses import LineResponse

PLAN = {"token": 1, "reply_timeout_ms": 500, "threshold_ms": 10, "event_limit": 10}
SPEC = {"id": 1, "family": 4, "interval_ms": 10, "address": "127.0.0.1", "port": 9}


class Endless:
    """A connection on which there is always more to read."""

    def __init__(self):
        self.reads = 0

    def read(self):
        self.reads += 1
        assert self.reads < 100000, "reads without an end"
        return b"x" * connection.READ_SIZE, 0


def test_a_service_that_never_stops_sending_is_left_for_the_other_flows():
    flow = connection.Kept(SPEC, Shared(PLAN, Lateness(10**7, 10**7), None), b"ping\n", LineResponse)
    flow._channel, flow._connected = Endless(), True
    flow._read()
    assert flow._channel.reads == connection.READS_AT_ONCE
