#!/usr/bin/python
"""Goes back to an earlier release."""

DOCUMENTATION = r"""
module: rollback
short_description: Return to an earlier release
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Makes an earlier release live, by C(wheelbarrow rollback), and marks the release that it leaves as bad.
  - With O(deploy_id), it rolls back what that deploy has switched on this host, whatever migrations were applied. If that deploy has
    switched nothing here, or another release was made live since, nothing is done.
  - Without O(deploy_id), O(to) and O(leave), each run goes back by one more release.
options:
  to:
    description: The release to go to, by its id or its number. If it is live, nothing is done.
    type: str
  leave:
    description: Roll back only if this release (by its id) or this version of the site is live.
    type: str
  force:
    description: Roll back even if migrations were applied that cannot be reversed.
    type: bool
    default: false
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Reports which release would be live, and changes nothing.
  diff_mode:
    support: full
    description: Shows the live release and the next one.
"""

EXAMPLES = r"""
- name: Leave version 1.5 if it is live
  wheelbarrow.deploy.rollback:
    root: /srv/mysite
    leave: "1.5"

- name: Roll back what a deploy has switched
  wheelbarrow.deploy.rollback:
    root: /srv/mysite
    deploy_id: "{{ deploy_id }}"
"""

RETURN = r"""
id:
  description: The release that is live now, or would be; null if no release is live.
  returned: success
  type: str
  sample: 6-0f1e2d3c
previous:
  description: The release that was live before.
  returned: success
  type: str
  sample: 7-1a2b3c4d
"""

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    Runner,
    difference,
)


def main():
    arguments = dict(CHANGES)
    arguments.update(
        to={"type": "str"},
        leave={"type": "str"},
        force={"type": "bool", "default": False},
    )
    runner = Runner.of(arguments, mutually_exclusive=[("to", "deploy_id")])
    params = runner.module.params
    if not (runner.is_there and runner.has_root()):
        # Nothing was ever live there.
        runner.done(False, id=None, previous=None)
    status = runner.run(["status"])
    is_recovered = status["interrupted"] and not runner.module.check_mode
    if is_recovered:
        runner.run(["recover", "--wait", str(params["wait"])])
        status = runner.run(["status"])
    live = status["live"]
    if stays(live, params):
        name = live["id"] if live else None
        runner.done(is_recovered, id=name, previous=name)
    words = ["rollback"] + (["--force"] if params["force"] else [])
    if params["to"]:
        words += ["--to", params["to"]]
    plan = runner.change(words + ["--dry-run"])
    changed = plan["id"] != plan["previous"]
    diff = difference(runner.root, {"live": plan["previous"]}, {"live": plan["id"]})
    if changed and not runner.module.check_mode:
        plan = runner.change(words)
    runner.done(changed or is_recovered, id=plan["id"], previous=plan["previous"], diff=diff)


def stays(live, params):
    """Whether there is nothing to leave."""
    if live is None:
        return True
    names = [live["id"], live["id"].split("-")[0]]
    if params["to"] in names:
        return True
    return params["leave"] is not None and params["leave"] not in [live["id"], live["version"]]


if __name__ == "__main__":
    main()
