"""haproxy.py SOCKET BACKEND SERVER drain|ready SECONDS: takes a server out of haproxy, or back, by its runtime API.

`drain` waits until no session is left, `ready` until haproxy finds the server well, each as long as SECONDS; what has not
ended by then is told, and is no failure. Prints `changed` where the server was in another state. Runs on Python 3.6 and later.
"""

import csv
import io
import socket
import sys
import time

MAINTENANCE, DRAIN = 0x01, 0x08


def ask(path, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        answer = b""
        while True:
            data = connection.recv(65536)
            if not data:
                return answer.decode()
            answer += data


def look(path, backend, server):
    """The row of the server in `show stat`."""
    rows = csv.DictReader(io.StringIO(ask(path, "show stat").lstrip("# ")))
    for row in rows:
        if (row["pxname"], row["svname"]) == (backend, server):
            return row
    sys.exit("haproxy has no server %s in a backend %s" % (server, backend))


def is_out(path, backend, server):
    """Whether somebody has taken it out, be it well or not: bits of `srv_admin_state` in haproxy's management guide."""
    lines = ask(path, "show servers state %s" % backend).splitlines()
    names = next(line for line in lines if line.startswith("# ")).split()[1:]
    rows = [dict(zip(names, line.split())) for line in lines if not line.startswith("#")]
    states = [int(row["srv_admin_state"]) for row in rows if row.get("srv_name") == server]
    return any(state & (MAINTENANCE | DRAIN) for state in states)


def is_settled(row, state):
    if state == "drain":
        return int(row["scur"] or 0) == 0
    return row["status"] in ("UP", "no check")


def main():
    path, backend, server, state, seconds = sys.argv[1:]
    look(path, backend, server)
    is_changed = is_out(path, backend, server) != (state == "drain")
    if is_changed:
        said = ask(path, "set server %s/%s state %s" % (backend, server, state)).strip()
        if said:
            sys.exit("haproxy: %s" % said)
    deadline = time.monotonic() + float(seconds)
    while not is_settled(look(path, backend, server), state):
        if time.monotonic() > deadline:
            print("not settled after %s s: %s" % (seconds, look(path, backend, server)["status"]))
            break
        time.sleep(0.1)
    if is_changed:
        print("changed")


if __name__ == "__main__":
    main()
