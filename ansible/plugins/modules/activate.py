#!/usr/bin/python
"""Makes a release live."""

DOCUMENTATION = r"""
module: activate
short_description: Make an existing release live
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Makes a release live that M(wheelbarrow.deploy.release) has made, by C(wheelbarrow activate). A release that was never live is
    checked and prepared first. Then C(current) is switched, the server is reloaded, and every process of the server is verified
    to run the new release. If one of these fails, the previous release is made live again, the server included.
  - If the release is live already and the server runs it, nothing is done. An operation that was killed is recovered first.
options:
  migrations:
    description:
      - V(false) leaves out the C(prepare) commands that change a database. M(wheelbarrow.deploy.migrate) runs them once for all
        hosts.
    type: bool
    default: true
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
  - wheelbarrow.deploy.common.release
attributes:
  check_mode:
    support: full
    description: Reports which release would be live, and changes nothing.
  diff_mode:
    support: full
    description: Shows the live release and the next one.
seealso:
  - module: wheelbarrow.deploy.rollback
"""

EXAMPLES = r"""
- name: The new release is live
  wheelbarrow.deploy.activate:
    root: /srv/mysite
    release: "{{ staged.id }}"
    migrations: false
    deploy_id: "{{ deploy_id }}"
"""

RETURN = r"""
id:
  description: The release that is live now, or would be.
  returned: success
  type: str
  sample: 7-1a2b3c4d
previous:
  description: The previous release; null if no release was live.
  returned: success
  type: str
  sample: 6-0f1e2d3c
milliseconds:
  description: The duration in milliseconds.
  returned: if a release was made live
  type: int
  sample: 2150
services:
  description: The state of the units of all services.
  returned: if a release was made live
  type: list
  elements: dict
  sample: [{"name": "worker", "unit": {"unit": "mysite-worker@7-1a2b3c4d.1.service", "active": "active", "sub": "running"}}]
"""

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    Runner,
    difference,
)


def main():
    arguments = dict(CHANGES)
    arguments.update(
        release={"type": "str", "required": True},
        migrations={"type": "bool", "default": True},
    )
    runner = Runner.of(arguments)
    params = runner.module.params
    words = ["activate", params["release"]] + ([] if params["migrations"] else ["--no-migrate"])
    if runner.module.check_mode and not (runner.is_there and runner.has_root()):
        runner.done(True, id=params["release"], previous=None)
    status = runner.run(["status"])
    if status["interrupted"] and not runner.module.check_mode:
        runner.run(["recover", "--wait", str(params["wait"])])
    plan = runner.run(words + ["--dry-run"])
    changed = status["interrupted"] or plan["id"] != plan["previous"] or not is_served(status)
    diff = difference(runner.root, {"live": plan["previous"]}, {"live": plan["id"]})
    if not changed or runner.module.check_mode:
        runner.done(changed, id=plan["id"], previous=plan["previous"], diff=diff)
    activated = runner.change(words)
    runner.done(
        True,
        id=activated["id"],
        previous=plan["previous"],
        milliseconds=activated["milliseconds"],
        services=runner.run(["status"]).get("services") or [],
        diff=diff,
    )


def is_served(status):
    """Whether no process is known to run another release than the live one."""
    serving = status["serving"]
    live = (status["live"] or {}).get("id")
    return serving["verdict"] == "nothing" or (serving["verdict"] == "one" and serving["id"] == live)


if __name__ == "__main__":
    main()
