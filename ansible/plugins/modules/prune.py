#!/usr/bin/python
"""Removes old releases."""

DOCUMENTATION = r"""
module: prune
short_description: Remove old, unused releases
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Removes old releases, and the wheels that only they use, by C(wheelbarrow prune). The live release, its predecessor, pinned
    releases and releases that a process runs from are kept.
options:
  keep:
    description: The number of good releases to keep. The default is C(keep) in the settings of the site, else 5.
    type: int
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Reports which releases would be removed.
  diff_mode:
    support: full
    description: Shows the releases that are removed.
"""

EXAMPLES = r"""
- name: Keep three good releases
  wheelbarrow.deploy.prune:
    root: /srv/mysite
    keep: 3
"""

RETURN = r"""
removed:
  description: The releases that were removed, or would be.
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
