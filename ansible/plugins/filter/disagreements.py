"""Which hosts that serve the same site are not the same."""

DOCUMENTATION = r"""
name: disagreements
short_description: List the differences between hosts that serve the same site
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Compares the results of M(wheelbarrow.deploy.release_info) of all hosts, and returns a line for each difference between them, and
    for each problem of one host.
  - Dependencies are compared between hosts with the same minor version of Python, since an artifact may have other dependencies for
    another Python.
  - Hosts are compared by the SHA-256 of their environment.json, but no line contains it. A line names each host whose environment was not
    compared, since the user on the host may not read environment.json.
positional: _input
options:
  _input:
    description: The result of M(wheelbarrow.deploy.release_info) by the name of the host.
    type: dict
    required: true
"""

EXAMPLES = r"""
lines: "{{ {'web1': one, 'web2': other} | wheelbarrow.deploy.disagreements }}"
"""

RETURN = r"""
_value:
  description: A line for each difference; empty if all hosts agree.
  type: list
  elements: str
  sample: ["code: web1, web2 have 0f1e2d3c4b5a; web3 has 1a2b3c4d5e6f"]
"""

ASPECTS = ["code", "dependencies", "environment", "schema"]
DIGITS = 12


def disagreements(hosts):
    """Lines for people."""
    lines = []
    for aspect in ASPECTS:
        # One artifact may have other dependencies for another Python.
        for group in _by_python(hosts) if aspect == "dependencies" else [_with_known(aspect, hosts)]:
            seen = {}
            for host in sorted(group):
                seen.setdefault(_value(group[host], aspect), []).append(host)
            if len(seen) > 1:
                groups = sorted(seen.items(), key=lambda item: (-len(item[1]), item[1]))
                lines.append("%s: %s" % (aspect, _told(_unnamed(groups) if aspect == "environment" else groups)))
                lines += _packages(group) if aspect == "dependencies" else []
    for host in sorted(hosts):
        lines += ["%s: %s" % (host, problem) for problem in _problems(hosts[host])]
    lines += _singletons(hosts)
    idle = [host for host in sorted(hosts) if (hosts[host].get("serving") or {}).get("verdict") == "nothing"]
    if len(idle) < len(hosts):
        lines += ["%s: no process serves it, as others do" % host for host in idle if hosts[host].get("live")]
    return lines


def _by_python(hosts):
    """The hosts of each Python."""
    groups = {}
    for host, info in hosts.items():
        groups.setdefault((info.get("fingerprint") or {}).get("python"), {})[host] = info
    return [groups[python] for python in sorted(groups, key=str)]


def _value(info, aspect):
    fingerprint = info.get("fingerprint") or {}
    value = fingerprint.get(aspect)
    if aspect == "schema" and value is not None:
        value = value["sha256"]
    return value[:DIGITS] if value else "none"


def _with_known(aspect, hosts):
    """The hosts of which that is known."""
    return {host: info for host, info in hosts.items() if aspect != "environment" or not _is_hidden(info)}


def _is_hidden(info):
    return (info.get("fingerprint") or {}).get("environment_hidden", False)


def _told(groups):
    """Those that most have come first."""
    return "; ".join("%s %s %s" % (", ".join(names), "has" if len(names) == 1 else "have", value) for value, names in groups)


def _unnamed(groups):
    """Without the hash: who knows most of a file could confirm guesses of the rest by a few digits of it."""
    told = []
    for value, names in groups:
        first = "the same" if len(names) > 1 else "one"
        told.append(("none" if value == "none" else "another" if told else first, names))
    return told


def _packages(hosts):
    """Of the dependencies, those that only some have."""
    have = {name: set((info.get("fingerprint") or {}).get("distributions") or []) for name, info in hosts.items()}
    some = set().union(*have.values()) - set.intersection(*have.values())
    for distribution in sorted(some):
        names = sorted(name for name in have if distribution in have[name])
        yield "dependencies: only %s has %s" % (", ".join(names), distribution)


def _singletons(hosts):
    """What only one host may run, and none or several do."""
    told = {host: info["singletons"] for host, info in hosts.items() if info.get("singletons")}
    runs = [host for host in sorted(told) if told[host]["runs"]]
    names = sorted({name for one in told.values() for name in one["services"]})
    if told and not runs:
        yield "services: no host runs %s" % ", ".join(names)
    if len(runs) > 1:
        yield "services: %s run %s, which only one may run" % (" and ".join(runs), ", ".join(names))


def _problems(info):
    """What is wrong with a host by itself."""
    if info.get("live") is None:
        yield "no release is live"
        return
    if _is_hidden(info):
        yield "its environment was not compared, since the user may not read it: run it with become"
    serving = info["serving"]
    if serving["verdict"] != "nothing" and serving.get("id") != info["live"]["id"]:
        yield "its processes do not all run %s, which is live" % info["live"]["id"]
    schema = (info.get("fingerprint") or {}).get("schema") or {}
    if schema.get("due"):
        yield "pending migrations: %s" % ", ".join(schema["due"])
    if schema.get("unknown"):
        yield "pending migrations are unknown: %s" % schema["unknown"]
    for service in info.get("services") or []:
        if service.get("trouble"):
            yield "the service %s: %s" % (service["name"], service["trouble"])
    if info.get("interrupted"):
        yield "the last operation was interrupted"


class FilterModule(object):
    def filters(self):
        return {"disagreements": disagreements}
