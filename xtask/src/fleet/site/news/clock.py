"""Writes down that it runs, five times a second."""

import os
import socket
import time

import django
from django.db import connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django.setup()
process = "%s, %s, %s" % (socket.gethostname(), os.getpid(), time.time())
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS tick (id bigserial PRIMARY KEY, process text)")
    while True:
        cursor.execute("INSERT INTO tick (process) VALUES (%s)", [process])
        time.sleep(0.2)
