#!/usr/bin/python
"""Removes old releases."""

DOCUMENTATION = r"""
module: prune
short_description: Remove old, unused releases
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Removes old releases and the wheels that only they have, by C(wheelbarrow prune). Never the live one, what was live before it,
    pinned ones, or those that a process runs from.
options:
  keep:
    description: The number of good releases to keep; else what the settings of the site say, else 5.
    type: int
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Says what would be removed.
  diff_mode:
    support: full
    description: Shows the releases that go.
"""

EXAMPLES = r"""
- name: Three good releases stay
  wheelbarrow.deploy.prune:
    root: /srv/mysite
    keep: 3
"""

RETURN = r"""
removed:
  description: The releases that are gone, or would be.
  returned: success
  type: list
  elements: str
  sample: ["3-0f1e2d3c"]
kept:
  description: The releases that stay, each with the reason.
  returned: success
  type: dict
  sample: {"7-1a2b3c4d": "live"}
"""

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    Runner,
    difference,
)


def main():
    runner = Runner.of(dict(CHANGES, keep={"type": "int"}))
    if not (runner.is_there and runner.has_root()):
        # Nothing is there that could go.
        runner.done(False, removed=[], kept={})
    keep = runner.module.params["keep"]
    words = ["prune"] + ([] if keep is None else ["--keep", str(keep)])
    plan = runner.run(words + ["--dry-run"])
    changed = bool(plan["removed"])
    diff = difference(runner.root, dict.fromkeys(plan["removed"], "there"), {})
    if changed and not runner.module.check_mode:
        plan = runner.change(words)
    runner.done(changed, removed=plan["removed"], kept=plan["kept"], diff=diff)


if __name__ == "__main__":
    main()
