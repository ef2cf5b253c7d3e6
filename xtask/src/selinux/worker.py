"""A worker that finishes what it is doing when it is asked to end."""

import signal
import time

import app

asked = []
signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
while not asked:
    time.sleep(0.2)
time.sleep(3)
with open(app.MEDIA + "/finished", "a") as file:
    file.write(f"{app.VERSION}\n")
