#!/usr/bin/python
"""Says which host of a fleet runs what only one may run."""

DOCUMENTATION = r"""
module: singletons
short_description: Report or set whether a host runs the services that only one host of a fleet may run
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Services of a site with C(hosts = "one"), such as a scheduler, run on one host. With O(runs=false) a host stops them and
    does not start them again, by C(wheelbarrow singletons no). With O(runs=true) it starts them, if a release is live, and
    with every later release.
  - Run it for the other hosts first. When it returns, their services are stopped.
options:
  runs:
    description: Whether the host runs them. Without it, nothing is changed.
    type: bool
  release:
    description: Without O(runs), the release whose services are reported, by its id or its number. The default is the live release.
    type: str
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Reports what would change, and changes nothing.
  diff_mode:
    support: full
    description: Shows whether the host runs them, before and after.
"""

EXAMPLES = r"""
- name: Stop them on the other hosts
  wheelbarrow.deploy.singletons:
    root: /srv/mysite
    runs: false
  when: inventory_hostname != 'web1'

- name: Run them on one host
  wheelbarrow.deploy.singletons:
    root: /srv/mysite
    runs: true
  when: inventory_hostname == 'web1'
"""

RETURN = r"""
runs:
  description: Whether the host runs them, or would.
  returned: success
  type: bool
said_by:
  description: What decided it. V(command) for this module, V(settings) for C(shared/wheelbarrow.toml), else V(nobody).
  returned: success
  type: str
since:
  description: When it was set, in seconds since 1970; null if it was not set.
  returned: success
  type: int
services:
  description: The names of these services in the release.
  returned: success
  type: list
  elements: str
  sample: ["beat"]
"""

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    SINGLETONS,
    Runner,
    difference,
)

BARE = {"runs": True, "said_by": "nobody", "since": None, "services": []}


def main():
    runner = Runner.of(dict(CHANGES, runs={"type": "bool"}, release={"type": "str"}))
    runs, release = runner.module.params["runs"], runner.module.params["release"]
    if runner.module.check_mode and not (runner.is_there and runner.has_root()):
        runner.done(runs is not None, **BARE)
    before = runner.singletons(release)
    if runs is None:
        runner.done(False, **before)
    if runner.module.check_mode:
        after = dict(before, runs=runs, is_changed=before["runs"] != runs or before["since"] is None)
    else:
        after = runner.change(["singletons", "yes" if runs else "no"])
    words = {True: "run here", False: "run elsewhere"}
    diff = difference(runner.root, {"singletons": words[before["runs"]]}, {"singletons": words[after["runs"]]})
    runner.done(after["is_changed"], diff=diff, **{key: after[key] for key in SINGLETONS})


if __name__ == "__main__":
    main()
