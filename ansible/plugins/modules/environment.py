#!/usr/bin/python
"""Writes the environment of a site."""

DOCUMENTATION = r"""
module: environment
short_description: Write the environment of a site
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Writes C(shared/environment.json) of a root, by C(wheelbarrow env write). The next release uses it. O(apply=true) makes
    a release of the live code with it at once.
  - The values are passed on the standard input of C(wheelbarrow). No result and no difference shows a value. Ansible masks each
    text in its output that is equal to a value, so short values can mask other texts too.
  - The root is made if it does not exist. An existing file keeps its mode and its owner; a new file has the mode 0640.
options:
  values:
    description: The variables, each a string.
    type: dict
    required: true
  merge:
    description: Keep variables that O(values) does not name, instead of removing them.
    type: bool
    default: false
  apply:
    description:
      - If the live release has another environment, make a release of the live code with the new one.
      - It is checked, verified, and rolled back if that fails.
    type: bool
    default: false
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Reports which variables would differ.
  diff_mode:
    support: full
    description: Shows the names of variables, never a value.
"""

EXAMPLES = r"""
- name: Write the environment
  wheelbarrow.deploy.environment:
    root: /srv/mysite
    values:
      DJANGO_SETTINGS_MODULE: mysite.settings.production
      SECRET_KEY: "{{ vault_secret_key }}"
"""

RETURN = r"""
difference:
  description: The names of variables that were C(added), C(removed) and C(changed), or would be.
  returned: success
  type: dict
  sample: {"added": ["DATABASE_URL"], "removed": [], "changed": []}
is_pending:
  description: Whether the environment of the live release differs from the file.
  returned: success
  type: bool
id:
  description: The release that was made with it; null if no release was made.
  returned: success
  type: str
"""

import json

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import CHANGES, Runner


def main():
    arguments = dict(CHANGES)
    arguments.update(
        values={"type": "dict", "required": True, "no_log": True},
        merge={"type": "bool", "default": False},
        apply={"type": "bool", "default": False},
    )
    runner = Runner.of(arguments)
    params = runner.module.params
    if runner.module.check_mode and not runner.is_there:
        added = {"added": sorted(params["values"]), "removed": [], "changed": []}
        runner.done(True, difference=added, is_pending=False, id=None, diff=names(runner.root, added))
    words = ["env", "write"] + (["--merge"] if params["merge"] else [])
    data = json.dumps(params["values"])
    if runner.module.check_mode:
        written = runner.run(words + ["--dry-run"], data)
    else:
        written = runner.change(words, data)
    changed, release, is_pending = written["is_changed"], None, written["is_pending"]
    if params["apply"] and is_pending:
        changed = True
        if not runner.module.check_mode:
            release, is_pending = runner.change(["env", "apply"])["id"], False
    runner.done(
        changed,
        difference=written["difference"],
        is_pending=is_pending,
        id=release,
        diff=names(runner.root, written["difference"]),
    )


def names(root, difference):
    """For `--diff`: a variable that has another value now stands on both sides."""

    def lines(keys, mark):
        changed = ["%s=(%s)" % (key, mark) for key in difference["changed"]]
        return "".join("%s\n" % line for line in sorted(list(keys) + changed))

    return {
        "before_header": "%s/shared/environment.json, names" % root,
        "after_header": "%s/shared/environment.json, names" % root,
        "before": lines(difference["removed"], "a value"),
        "after": lines(difference["added"], "another value"),
    }


if __name__ == "__main__":
    main()
