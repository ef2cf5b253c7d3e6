"""Which host of a fleet runs what only one may run."""

DOCUMENTATION = r"""
name: singletons_host
short_description: Choose the host that runs the services with hosts = "one"
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - The host that runs them keeps them. If several do, such as a host that was lost and is back, the host that was set last is
    chosen. If none does, the first host that may run them is chosen.
  - No other host is chosen while hosts of the fleet were not queried, because one of them may run them.
positional: _input
options:
  _input:
    description: The result of M(wheelbarrow.deploy.singletons) by the name of the host, in the order of the inventory.
    type: dict
    required: true
  left_out:
    description: Hosts of the fleet that were not queried.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
chosen: "{{ {'web1': one, 'web2': other} | wheelbarrow.deploy.singletons_host }}"
"""

RETURN = r"""
_value:
  description: The name of the host; empty if no host is chosen.
  type: str
  sample: web1
"""


def singletons_host(hosts, left_out=()):
    """The name of one of them."""
    by_settings = [name for name in hosts if hosts[name]["said_by"] == "settings" and hosts[name]["runs"]]
    if by_settings:
        return by_settings[0]
    able = [name for name in hosts if hosts[name]["said_by"] != "settings"]
    told = [name for name in able if hosts[name]["said_by"] == "command" and hosts[name]["runs"]]
    if told:
        return max(told, key=lambda name: hosts[name]["since"])
    return able[0] if able and not left_out else ""


class FilterModule(object):
    def filters(self):
        return {"singletons_host": singletons_host}
