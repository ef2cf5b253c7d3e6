#!/usr/bin/python
"""Says what is on a host."""

DOCUMENTATION = r"""
module: release_info
short_description: Report the releases of a host, the live one, and what its processes run
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Reads the releases of a root, by C(wheelbarrow status) and C(wheelbarrow list). Nothing is changed, and no lock is taken.
  - Hosts that serve the same site must have the same RV(fingerprint); the playbook C(wheelbarrow.deploy.agree) lists the differences.
options:
  schema:
    description: Also report the applied migrations, if the site is a Django site. That starts the Python of the site.
    type: bool
    default: false
extends_documentation_fragment:
  - wheelbarrow.deploy.common
attributes:
  check_mode:
    support: full
    description: The module changes nothing.
  diff_mode:
    support: none
    description: The module changes nothing.
"""

EXAMPLES = r"""
- name: Read what is live
  wheelbarrow.deploy.release_info:
    root: /srv/mysite
    schema: true
  register: site

- name: Print it
  ansible.builtin.debug:
    msg: "{{ site.live.version }} of {{ site.live.name }}, code {{ site.fingerprint.code }}"
"""

RETURN = r"""
is_installed:
  description: Whether the host has C(wheelbarrow) and the root.
  returned: success
  type: bool
live:
  description: The live release; null if no release is live.
  returned: success
  type: dict
  sample: {"id": "7-1a2b3c4d", "state": "live", "name": "mysite", "version": "1.5", "parent": "6-0f1e2d3c", "is_pinned": false}
serving:
  description: The release that the processes of the server run, by the facts of the kernel. C(verdict) is V(one) if all run one release.
  returned: success
  type: dict
  sample: {"verdict": "one", "id": "7-1a2b3c4d"}
fingerprint:
  description: The parts of the live release that must be the same on every host; null if no release is live.
  returned: success
  type: dict
  contains:
    artifact:
      description: The SHA-256 of the artifact's manifest.
      type: str
    code:
      description: The SHA-256 of code and static files.
      type: str
    python:
      description: The Python that the dependencies are for.
      type: str
      sample: "3.11"
    dependencies:
      description: The SHA-256 of C(distributions).
      type: str
    distributions:
      description: The installed distributions, each as V(name==version).
      type: list
      elements: str
    environment:
      description: The SHA-256 of its environment.json; null without that file, and with RV(fingerprint.environment_hidden).
      type: str
    environment_hidden:
      description: Whether there is an environment.json that the user on the host may not read.
      type: bool
    schema:
      description: The state of the database; null with O(schema=false).
      type: dict
      sample: {"sha256": "0f1e2d3c", "applied": 21, "due": [], "unknown": null}
services:
  description: The state of the units of the services of the live release. A service with C(trouble) does not work.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "worker", "unit": {"unit": "mysite-worker@7-1a2b3c4d.1.service", "active": "active", "sub": "running"}}]
singletons:
  description: Whether the host runs the services that only one host may run, as M(wheelbarrow.deploy.singletons) says; null if
    the live release has none.
  returned: success
  type: dict
  sample: {"runs": true, "said_by": "command", "since": 1764368400, "services": ["beat"]}
releases:
  description: All releases of the root, by number.
  returned: success
  type: list
  elements: dict
last:
  description: The last operation on the root, and how it ended.
  returned: success
  type: dict
interrupted:
  description: Whether the last operation was killed and is not recovered yet.
  returned: success
  type: bool
"""

import os

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import Runner


def _with_hidden(fingerprint, root):
    """With whether there is an environment that this user may not read."""
    path = os.path.join(root, "current", "environment.json")
    hidden = fingerprint.get("environment") is None and os.path.exists(path) and not os.access(path, os.R_OK)
    return dict(fingerprint, environment_hidden=hidden)


def main():
    runner = Runner.of({"schema": {"type": "bool", "default": False}})
    if not (runner.is_there and runner.has_root()):
        runner.done(
            False,
            is_installed=False,
            live=None,
            serving={"verdict": "nothing"},
            fingerprint=None,
            services=[],
            singletons=None,
            releases=[],
            last=None,
            interrupted=False,
        )
    status = runner.run(["status"] + (["--schema"] if runner.module.params["schema"] else []))
    keys = ("live", "serving", "fingerprint", "last", "interrupted")
    more = {"services": status.get("services") or [], "singletons": status.get("singletons")}
    more.update((key, status[key]) for key in keys)
    if more["fingerprint"]:
        more["fingerprint"] = _with_hidden(more["fingerprint"], runner.root)
    runner.done(False, is_installed=True, releases=runner.run(["list"]), **more)


if __name__ == "__main__":
    main()
