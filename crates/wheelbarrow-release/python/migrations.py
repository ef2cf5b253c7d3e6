"""Prints migrations of the default database: due, irreversible, applied. The last line is one JSON object."""

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
