#!/usr/bin/python
"""Runs the migrations of a release."""

DOCUMENTATION = r"""
module: migrate
short_description: Run the migrations of a release, once for the fleet
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Runs the C(prepare) commands of a release that change a database (those with C(migrate), C(alembic) or C(db upgrade) among their
    words), by C(wheelbarrow migrate). Nothing is switched. Run it on one host, and M(wheelbarrow.deploy.activate) on all with
    O(wheelbarrow.deploy.activate#module:migrations=false).
  - Commands that ran for this release on this host are not run again.
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
  - wheelbarrow.deploy.common.release
attributes:
  check_mode:
    support: full
    description: Reports the pending migrations.
  diff_mode:
    support: full
    description: Shows the pending migrations.
"""

EXAMPLES = r"""
- name: Migrate the database
  wheelbarrow.deploy.migrate:
    root: /srv/mysite
    release: "{{ staged.id }}"
    deploy_id: "{{ deploy_id }}"
  run_once: true
"""

RETURN = r"""
migrations:
  description: The migrations that were pending, if the site is a Django site.
  returned: success
  type: list
  elements: str
  sample: ["news.0002_author"]
irreversible:
  description: The migrations among them that Django cannot reverse.
  returned: success
  type: list
  elements: str
commands:
  description: The commands that ran, or would run.
  returned: success
  type: list
  elements: str
  sample: ["django-admin migrate --noinput"]
"""

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    Runner,
    difference,
)


def main():
    arguments = dict(CHANGES, release={"type": "str", "required": True})
    runner = Runner.of(arguments)
    words = ["migrate", runner.module.params["release"]]
    if runner.module.check_mode and not (runner.is_there and runner.has_root()):
        runner.done(True, migrations=[], irreversible=[], commands=[])
    migrated = runner.run(words + ["--dry-run"]) if runner.module.check_mode else runner.change(words)
    due = dict.fromkeys(migrated["migrations"], "due")
    runner.done(
        migrated["is_changed"],
        migrations=migrated["migrations"],
        irreversible=migrated["irreversible"],
        commands=migrated["commands"],
        diff=difference("%s, migrations" % runner.root, due, dict.fromkeys(due, "applied")),
    )


if __name__ == "__main__":
    main()
