#!/usr/bin/python
"""Writes the environment of a site."""

DOCUMENTATION = r"""
module: environment
short_description: Write the environment of a site
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Writes C(shared/environment.json) of a root, by C(wheelbarrow env write). The next release takes it; O(apply=true) makes what is
    live a release with it at once.
  - The values go to wheelbarrow's standard input. Neither a result nor a difference shows one. In what Ansible prints, it masks
    each text that is equal to a value, so that short values make for stars in other places.
  - The root is made where it is not there. An existing file keeps its mode and its owner, a new one has the mode 0640.
options:
  values:
    description: The variables, each a string.
    type: dict
    required: true
  merge:
    description: Leaves variables that are not named as they are, instead of removing them.
    type: bool
    default: false
  apply:
    description: Makes what is live a release with the new environment, where it has another one; checked, proved or taken back.
    type: bool
    default: false
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Says which variables would differ.
  diff_mode:
    support: full
    description: Shows names of variables, never a value.
"""

EXAMPLES = r"""
- name: What the site is told
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
  description: Whether the live release has another environment than the file.
  returned: success
  type: bool
id:
  description: The release that was made with it; null where none was.
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
