"""Prints where collectstatic puts its files, and whether this user may write there. The last line is JSON."""

import json
import os
import sys

from django.conf import settings


def is_writable(path):
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)


root = settings.STATIC_ROOT
answer = None
if root:
    path = os.path.abspath(str(root))
    answer = {"path": path, "writable": is_writable(path)}
sys.stdout.write("\n" + json.dumps(answer) + "\n")
