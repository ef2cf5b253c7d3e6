"""Whether this machine has what the artifact needs: the CPU, the C library, and libraries that the loader finds."""

from exits import UNFIT
from failure import Failure

# Debian's packages of libraries that wheels ask for and small servers lack; Ubuntu has the same. Made from wheelbarrow-platform.
PACKAGES = {
    "libGL.so.1": "libgl1",
    "libICE.so.6": "libice6",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libatomic.so.1": "libatomic1",
    "libexpat.so.1": "libexpat1",
    "libgcc_s.so.1": "libgcc-s1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libpq.so.5": "libpq5",
    "libssl.so.3": "libssl3",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}

# What each level of the x86-64 psABI has, as /proc/cpuinfo names it. Made from wheelbarrow-platform.
FEATURES = {
    "x86-64": "",
    "x86-64-v2": "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3",
    "x86-64-v3": "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
}


def failures(manifest, target, facts):
    """What the machine lacks: the CPU and the C library first."""
    needs, of_target = target.get("needs", {}), set(target["wheels"])
    wheels = [wheel for wheel in manifest["wheels"] if wheel["path"] in of_target and "needs" in wheel]
    found = [_old_cpu(needs["cpu"])] if "cpu" in needs else []
    found = [failure for failure in found if failure]
    glibc = needs.get("glibc")
    if glibc and _too_old(glibc, facts["libc"]):
        names = _names(
            wheel for wheel in wheels if "glibc" in wheel["needs"] and _too_old(wheel["needs"]["glibc"], facts["libc"])
        )
        here = "%s %s" % (facts["libc"]["name"], ".".join(str(number) for number in facts["libc"]["version"]))
        what = "%s needs glibc %s; this machine has %s" % (names, glibc, here)
        hint = "install it on a newer system, or build it with versions of these wheels that run on this one"
        found.append(Failure(UNFIT, what, hint=hint))
    by_library = {}
    for wheel in wheels:
        for library in set(wheel["needs"].get("libraries", [])):
            by_library.setdefault(library, []).append(wheel)
    for library in sorted(set(needs.get("libraries", []))):
        if not _loads(library):
            names = _names(by_library.get(library, []))
            what = "%s needs %s, which the loader of this machine does not find" % (names, library)
            found.append(Failure(UNFIT, what, hint=_package(library)))
    return found


def check(manifest, target, facts):
    for failure in failures(manifest, target, facts):
        raise failure


def _old_cpu(level):
    """That the first CPU of this machine lacks features of the level; nothing where the kernel does not say what it has."""
    known = {}
    try:
        with open("/proc/cpuinfo", "rb") as file:
            for line in file.read(1 << 16).decode("utf-8", "replace").split("\n"):
                key, colon, value = line.partition(":")
                if colon:
                    known.setdefault(key.strip(), value.split())
    except OSError:
        return None
    if "flags" not in known:
        return None
    missing = [name for name in FEATURES[level].split() if name not in known["flags"]]
    if not missing:
        return None
    here = " ".join(known.get("model name", [])) or "the CPU of this machine"
    hint = (
        "install it on a newer machine, give the virtual machine the CPU of its host, or build it for a system whose packages"
        " need less (`wheelbarrow targets` has the column CPU), or by a platform tag such as `3.12@manylinux_2_28_x86_64`"
    )
    return Failure(UNFIT, "the artifact is for %s CPUs; %s lacks %s" % (level, here, ", ".join(missing)), hint=hint)


def _too_old(needed, libc):
    try:
        numbers = [int(number) for number in needed.split(".")]
    except ValueError:
        return False
    return libc["name"] != "glibc" or numbers > list(libc["version"])


def _names(wheels):
    return " and ".join(wheel["path"].split("/")[-1] for wheel in wheels)


def _loads(library):
    """The loader itself is asked. A Python without ctypes cannot, and nothing is known."""
    try:
        import ctypes
    except ImportError:
        return True
    try:
        ctypes.CDLL(library)
    except OSError as error:
        # It is there, and this process has too little memory for it.
        return "failed to map" in str(error) or "allocate" in str(error)
    return True


def _package(library):
    red_hat = "`dnf install '%s()(64bit)'` on Red Hat's systems" % library
    if library in PACKAGES:
        return "`apt install %s` on Debian and Ubuntu, %s" % (PACKAGES[library], red_hat)
    return "`apt-file search %s` on Debian and Ubuntu names its package, %s" % (library, red_hat)
