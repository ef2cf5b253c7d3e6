"""Tells where collectstatic puts its files: the last line of standard output is a path in JSON, or null.

Runs in the virtualenv of the installed site by `python -c`. An argument is the settings module that the command names.
"""

import json
import os
import sys

if sys.argv[1:]:
    os.environ["DJANGO_SETTINGS_MODULE"] = sys.argv[1]

from django.conf import settings  # noqa: E402

root = settings.STATIC_ROOT
sys.stdout.write("\n" + json.dumps(os.path.abspath(str(root)) if root else None) + "\n")
