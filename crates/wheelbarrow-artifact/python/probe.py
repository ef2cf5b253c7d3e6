"""Says what this machine is as a target, in the words of `wheelbarrow build --target`: `python site.zip --probe`."""

import json
import sys

import interpreter
from printing import say

# The systems that have a name: their C library, and their ID and VERSION_ID in os-release(5). Made from wheelbarrow-platform.
SYSTEMS = {
    "el7": (("glibc", 2, 17), "rhel 7", "centos 7", "ol 7"),
    "el8": (("glibc", 2, 28), "rhel 8", "almalinux 8", "rocky 8", "ol 8", "centos 8"),
    "el9": (("glibc", 2, 34), "rhel 9", "almalinux 9", "rocky 9", "ol 9", "centos 9"),
    "el10": (("glibc", 2, 39), "rhel 10", "almalinux 10", "rocky 10", "ol 10", "centos 10"),
    "amazon-2": (("glibc", 2, 26), "amzn 2"),
    "amazon-2023": (("glibc", 2, 34), "amzn 2023"),
    "sles-15": (("glibc", 2, 31), "sles 15.3", "sles 15.4", "sles 15.5", "sles_sap 15.4", "sles_sap 15.5", "opensuse-leap 15.5"),
    "sles-15.6": (("glibc", 2, 38), "sles 15.6", "sles 15.7", "sles_sap 15.6", "sles_sap 15.7", "opensuse-leap 15.6"),
    "sles-16": (("glibc", 2, 40), "sles 16", "sles_sap 16", "opensuse-leap 16"),
    "debian-11": (("glibc", 2, 31), "debian 11"),
    "debian-12": (("glibc", 2, 36), "debian 12"),
    "debian-13": (("glibc", 2, 41), "debian 13"),
    "debian-14": (("glibc", 2, 43), "debian 14"),
    "ubuntu-20.04": (("glibc", 2, 31), "ubuntu 20.04"),
    "ubuntu-22.04": (("glibc", 2, 35), "ubuntu 22.04"),
    "ubuntu-24.04": (("glibc", 2, 39), "ubuntu 24.04"),
    "ubuntu-26.04": (("glibc", 2, 43), "ubuntu 26.04"),
    "alpine-3.18": (("musl", 1, 2), "alpine 3.18"),
    "alpine-3.19": (("musl", 1, 2), "alpine 3.19"),
    "alpine-3.20": (("musl", 1, 2), "alpine 3.20"),
    "alpine-3.21": (("musl", 1, 2), "alpine 3.21"),
    "alpine-3.22": (("musl", 1, 2), "alpine 3.22"),
    "alpine-3.23": (("musl", 1, 2), "alpine 3.23"),
    "alpine-3.24": (("musl", 1, 2), "alpine 3.24"),
}
MACHINES = ("x86_64", "aarch64")


def tell(as_json):
    """Prints it; returns the exit code."""
    try:
        facts = interpreter.facts()
    except interpreter.Unusable as error:
        return refuse(error)
    python = "%d.%d" % tuple(facts["version"][:2])
    flags = facts["abi"][len("cp" + python.replace(".", "")) :]
    usual = "m" if facts["version"][1] < 8 else ""
    if facts["implementation"] != "cpython" or flags not in (usual, "t"):
        return refuse("%s (%s) is no CPython that wheels are made for" % (facts["executable"], facts["abi"]))
    python += "t" if flags == "t" else ""
    libc = facts["libc"]
    many = {"glibc": "manylinux", "musl": "musllinux"}.get(libc["name"])
    if many is None:
        return refuse("the C library of %s is not known" % facts["executable"])
    platform = "%s_%d_%d_%s" % (many, libc["version"][0], libc["version"][1], facts["machine"])
    release = os_release()
    system = name_of(release, facts)
    if system is None:
        target = "%s@%s" % (python, platform)
    else:
        target = "%s%s:%s" % (system, "" if facts["machine"] == MACHINES[0] else "/" + facts["machine"], python)
    told = {
        "target": target,
        "system": system,
        "os": release.get("PRETTY_NAME"),
        "platform": platform,
        "machine": facts["machine"],
        "libc": libc,
        "python": ".".join(str(number) for number in facts["version"]),
        "abi": facts["abi"],
        "executable": facts["executable"],
    }
    if as_json:
        sys.stdout.write(json.dumps(told, indent=2, sort_keys=True).replace("\x7f", "\\u007f") + "\n")
    else:
        say(sys.stdout, target)
    return 0


def refuse(reason):
    say(sys.stderr, "error: this Python cannot be a target\nCaused by: %s" % reason)
    return 4


def os_release(paths=("/etc/os-release", "/usr/lib/os-release")):
    """os-release(5), as far as it is plain."""
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        pairs = [line.partition("=") for line in lines if not line.startswith("#")]
        return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {}


def name_of(release, facts):
    """The system's name, if it has one and this Python runs with its C library."""
    own = "%s %s." % (release.get("ID", ""), release.get("VERSION_ID", ""))
    libc = (facts["libc"]["name"],) + tuple(facts["libc"]["version"])
    for name, system in SYSTEMS.items():
        if any(own.startswith(known + ".") for known in system[1:]):
            return name if system[0] == libc and facts["machine"] in MACHINES else None
    return None
