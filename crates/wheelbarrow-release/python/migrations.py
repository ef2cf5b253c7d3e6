"""Tells which migrations `migrate` would apply to the default database, which of them Django cannot take back, and which are
applied.

Runs in a release's virtualenv by `python -c`. The last line of standard output is one JSON object.
"""

import json
import sys

import django
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

django.setup()
executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
names, irreversible = [], []
for migration, _backwards in plan:
    name = "%s.%s" % (migration.app_label, migration.name)
    names.append(name)
    if not all(operation.reversible for operation in migration.operations):
        irreversible.append(name)
applied = ["%s.%s" % key for key in executor.loader.applied_migrations]
sys.stdout.write("\n" + json.dumps({"migrations": names, "irreversible": irreversible, "applied": applied}) + "\n")
