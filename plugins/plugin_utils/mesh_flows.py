# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which flows go from one host to another: layers, protocols, ports and services, and the components on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.fleet.stall.plugins.plugin_utils import domains

NODEPORT_SOURCES = 2


def flows_to(target: str, sources: Sequence[str], hosts: Mapping, ports: Mapping, parameters: Mapping) -> Iterator[dict]:
    """Every flow to one target, before the budget, without id and source port."""
    for source in sources:
        pair = _pair(source, target, hosts)
        yield from _address_flows(pair, hosts, ports[target], parameters)
        yield from _overlay_flows(pair, hosts, ports[target], parameters)
    if hosts[target]["outside"]:
        services = [service for service in parameters["services"] if service.get("target") == target]
    else:
        seen = [_seen_from(target, service) for service in parameters["services"]]
        services = [s for s in seen if s.get("target") == target or (s.get("node_port") and _serves(target, s, hosts, parameters))]
    for service in services:
        if service.get("node_port") and "nodeport" in parameters["layers"] and (protocol := _tcp(parameters)):
            for source in sources[:NODEPORT_SOURCES]:
                yield from _nodeport_flow(_pair(source, target, hosts), hosts, service, protocol, parameters)
        if "http" in parameters["layers"] and service["protocol"] != "syn":
            for source in sources[: parameters["service_sources"]]:
                yield from _request_flows(_pair(source, target, hosts), hosts, service, parameters)


def _pair(source: str, target: str, hosts: Mapping) -> dict:
    paths = [f"path:{group}" for group in domains.crossed(hosts[source]["domains"], hosts[target]["domains"])]
    components = [f"source:{source}", f"host:{source}", f"host:{target}", *paths, "fleet:all"]
    return {"source": source, "target": target, "components": list(dict.fromkeys(components))}


def _flow(pair: Mapping, layer: str, protocol: str, family: int, address: str, port: int | None, interval_ms: int, **more) -> dict:
    return {
        "source": pair["source"],
        "target": pair["target"],
        "layer": layer,
        "protocol": protocol,
        "family": family,
        "address": address,
        "port": port,
        "interval_ms": interval_ms,
        "service": None,
        "request": None,
        "path": None,
        "components": pair["components"],
        "nth": 0,
        **more,
    }


def _tcp(parameters: Mapping) -> str | None:
    return next((protocol for protocol in parameters["protocols"] if protocol != "icmp"), None)


def _interval(protocol: str, parameters: Mapping) -> int:
    if protocol == "icmp":
        return parameters["interval_ms"]
    return parameters.get("tcp_interval_ms") or parameters["interval_ms"]


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _addresses(host: Mapping, families: Sequence[int]) -> dict[int, str]:
    """Family -> address, in the order asked for; a literal IPv6 ``address`` serves family 6."""
    main = host["address"] or ""
    six = host["address6"] or (main if ":" in main else None)
    four = None if ":" in main else main
    return {family: address for family in families if (address := six if family == 6 else four)}


def _common(pair: Mapping, hosts: Mapping, parameters: Mapping) -> dict[int, str]:
    """Addresses of the target in the families that the source has as well."""
    own = _addresses(hosts[pair["source"]], parameters["families"])
    return {family: address for family, address in _addresses(hosts[pair["target"]], parameters["families"]).items() if family in own}


def _service_address(pair: Mapping, hosts: Mapping, service: Mapping, parameters: Mapping) -> list[tuple[int, str]]:
    """The first family that both ends and the service have, with the address there; none where there is no such family."""
    has = service.get("families") or parameters["families"]
    return [(family, address) for family, address in _common(pair, hosts, parameters).items() if family in has][:1]


def _address_flows(pair: Mapping, hosts: Mapping, port: int, parameters: Mapping) -> Iterator[dict]:
    layer = "outside" if hosts[pair["source"]]["outside"] else "node"
    if layer not in parameters["layers"]:
        return
    for family, address in _common(pair, hosts, parameters).items():
        for protocol in parameters["protocols"]:
            interval = _interval(protocol, parameters)
            if protocol == "icmp":
                yield _flow(pair, layer, protocol, family, address, None, interval)
                continue
            for nth in range(parameters["source_ports"]):
                yield _flow(pair, layer, protocol, family, address, port, interval, nth=nth)


def _overlay_flows(pair: Mapping, hosts: Mapping, port: int, parameters: Mapping) -> Iterator[dict]:
    source, target = hosts[pair["source"]], hosts[pair["target"]]
    if "overlay" not in parameters["layers"] or not (source["overlay_address"] and target["overlay_address"]):
        return
    address = target["overlay_address"]
    family = _family(address)
    if family != _family(source["overlay_address"]) or family not in parameters["families"]:
        return
    ends = dict.fromkeys((f"overlay:{pair['source']}", f"overlay:{pair['target']}"))
    through = {**pair, "components": [*pair["components"], *ends]}
    for protocol in parameters["protocols"]:
        yield _flow(through, "overlay", protocol, family, address, None if protocol == "icmp" else port, _interval(protocol, parameters))


def _seen_from(target: str, service: Mapping) -> Mapping:
    """A service without what a cluster tells of its own nodes, for a host that it does not show as one: that may be of another cluster."""
    if service.get("within") is None or target in service["within"]:
        return service
    return {**service, "backend": None, "local": False, "nodes": None}


def _serves(target: str, service: Mapping, hosts: Mapping, parameters: Mapping) -> bool:
    """Whether this host has the NodePort: a node as the cluster says, or where it does not say, a host of the node group, or any inside
    one where no host is in such a group."""
    if service.get("nodes") is not None:
        return target in service["nodes"]
    if hosts[target]["node"] is not None:
        return hosts[target]["node"]
    group = parameters["node_group"]
    return group in hosts[target]["groups"] or not any(group in host["groups"] for host in hosts.values())


def _service_components(pair: Mapping, hosts: Mapping, service: Mapping) -> list[str]:
    if not service.get("node_port"):
        return list(pair["components"])
    target = pair["target"]
    backend = target if service.get("local") else service.get("backend")
    found = [*pair["components"], f"nat:{target}"]
    if not backend:
        found.append(f"backend:{service['name']}")
    elif backend != target:
        crossed = domains.crossed(hosts[target]["domains"], hosts[backend]["domains"])
        found += [f"overlay:{target}", f"overlay:{backend}", f"host:{backend}", *(f"path:{group}" for group in crossed)]
    return list(dict.fromkeys(found))


def _nodeport_flow(pair: Mapping, hosts: Mapping, service: Mapping, protocol: str, parameters: Mapping) -> Iterator[dict]:
    through = {**pair, "components": _service_components(pair, hosts, service)}
    for family, address in _service_address(pair, hosts, service, parameters):
        interval = _interval(protocol, parameters)
        yield _flow(through, "nodeport", protocol, family, address, service["node_port"], interval, service=service["name"])


def _request_flows(pair: Mapping, hosts: Mapping, service: Mapping, parameters: Mapping) -> Iterator[dict]:
    through = {**pair, "components": [*_service_components(pair, hosts, service), f"app:{service['name']}"]}
    port = service.get("node_port") or service["port"]
    kinds = [("tcp_kept", parameters["service_interval_ms"])]
    if service["protocol"] == "http":
        kinds = [("http_new", parameters["http_new_interval_ms"]), ("http_kept", parameters["service_interval_ms"])]
    more = {"service": service["name"], "request": service.get("request"), "path": service.get("path")}
    for family, address in _service_address(pair, hosts, service, parameters):
        for protocol, interval in kinds:
            yield _flow(through, "http", protocol, family, address, port, interval, **more)
