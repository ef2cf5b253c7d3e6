"""Tells where collectstatic puts its files. The last line of standard output is one JSON string, or null.

Runs in a release's virtualenv by `python -c`.
"""

import json
import os
import sys

from django.conf import settings

root = settings.STATIC_ROOT
sys.stdout.write("\n" + json.dumps(os.path.abspath(str(root)) if root else None) + "\n")
