"""Reading a manifest: docs/reference/format.md, format 1."""

import json
import re
import sys

from exact import has_control, is_safe
from exits import NEWER
from failure import Failure
from needs import FEATURES
from rules import broken

# Bytes that it takes as text in memory.
LARGEST_TEXT = 48 << 20
# More values would take much more memory than their text. 65,535 members have two thirds of them.
MOST_VALUES = 500000
# What is at the top of an artifact or an install and not the project's.
TAKEN = (".wheelbarrow", "bootstrap_wheels", "environment.json", "static.in", "venv", "wheels")

# The manifest: a dictionary is an object with just these keys (`?` marks those that may be missing), a list an array.

DIGITS = set("0123456789")
SMALL = DIGITS | set("abcdefghijklmnopqrstuvwxyz")
SIGNAL = DIGITS | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ+-")
# Of systemd.time(7).
CALENDAR = SMALL | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ *-:,./~+_")
MACHINE = SMALL | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NEEDS = {"cpu?": tuple(FEATURES), "glibc?": str, "libraries?": [str]}
# PEP 610; `*` stands for any key.
_DIRECT_URL = {
    "url": str,
    "archive_info?": {"hash?": str, "hashes?": {"*?": str}},
    "dir_info?": {"editable?": bool},
    "subdirectory?": str,
    "vcs_info?": {"vcs": str, "commit_id": str, "requested_revision?": str},
}


def _below(limit):
    return lambda value: type(value) is int and 0 <= value < limit


def _is_command(value):
    """A list of words, or a text of them, in which quotes hold a word together."""
    if isinstance(value, str):
        quotes = re.findall(r"\"[^\"]*\"|'[^']*'|[\"']", value)
        words = value.split()
        if any(len(quote) == 1 for quote in quotes) or not words or re.match(r"(\"\"|'')+(\s|$)", words[0]):
            return False
        value = words
    return (
        isinstance(value, list)
        and value[:1] not in ([], [""])
        and all(isinstance(word, str) and "\0" not in word for word in value)
    )


def _is_allowance(value):
    """The ID of a check of Django, or ID=reason."""
    if not isinstance(value, str):
        return False
    name, equals, reason = (part.strip() for part in value.partition("="))
    # What lets a site lose data needs a reason.
    needs_reason = bool(equals) or name.split(":")[0] == "data-in-release"
    return bool(name) and not any(character.isspace() for character in name) and (not needs_reason or bool(reason))


def _is_server(value):
    kinds = {
        "command": {"kind": str, "command": _is_command},
        "touch": {"kind": str, "path": str},
        "systemd": {"kind": str, "unit": str, "action?": ("restart", "reload")},
    }
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind == "none" or (isinstance(kind, str) and kind in kinds and mismatch(value, kinds[kind], "") is None)


def _is_hook(value):
    return _is_command(value) or mismatch(value, {"run": _is_command, "required?": bool, "timeout?": int}, "") is None


def _are_hooks(value):
    """A list of hooks; one alone is a text or a table."""
    return all(_is_hook(hook) for hook in value) if isinstance(value, list) else _is_hook(value)


def _is_check(value):
    return isinstance(value, bool) or mismatch(value, _CHECK, "") is None


# The forms of `facts.rs`.
def _is_number(text):
    return 0 < len(text) < 10 and not set(text) - DIGITS and (text == "0" or text[0] != "0")


def _is_minor_version(value):
    parts = value.split(".") if isinstance(value, str) else []
    return len(parts) == 2 and all(_is_number(part) for part in parts)


def _is_abi_tag(value):
    rest = value[2:].rstrip("abcdefghijklmnopqrstuvwxyz") if isinstance(value, str) else ""
    return rest != "" and value[:2] == "cp" and not set(rest) - DIGITS


def _is_required_platform(value):
    parts = value.split("_", 3) if isinstance(value, str) else []
    if len(parts) < 4:
        return value == "any"
    is_machine = parts[3] != "" and not set(parts[3]) - MACHINE
    return parts[0] in ("manylinux", "musllinux") and is_machine and _is_number(parts[1]) and _is_number(parts[2])


def _is_service(value):
    """A service in the form of `release/service.rs`."""
    if mismatch(value, _SERVICE, "") is not None:
        return False
    schedule = value.get("schedule")
    if schedule is not None and (not schedule.strip(" ") or set(schedule) - CALENDAR):
        return False
    given = [key for key in ("run", "unit", "touch", "command") if key in value]
    if len(given) != 1 or "action" in value and given != ["unit"]:
        return False
    own = [key for key in ("socket", "instances", "handover", "schedule", "stop", "loosen", "watchdog") if key in value]
    if own and given != ["run"]:
        return False
    has_socket = value.get("socket") is True
    instances, handover = value.get("instances", 1), value.get("handover", "restart")
    if not 1 <= instances <= 999 or value.get("hosts") == "one" and (instances > 1 or handover == "drain"):
        return False
    with_schedule = {"instances", "handover", "probe", "stays-up", "stays_up", "watchdog"}
    if "schedule" in value and (has_socket or set(value) & with_schedule) or value.get("watchdog") == 0:
        return False
    if has_socket and set(value) & {"instances", "handover"} or {"stays-up", "stays_up"} <= set(value):
        return False
    probe = value.get("probe")
    if probe is None:
        return True
    asked = [key for key in ("path", "url", "command") if key in probe]
    return len(asked) == 1 and (asked != ["path"] or has_socket and probe["path"].startswith("/") and "socket" not in probe)


def _is_service_name(value):
    parts = value.split("-") if isinstance(value, str) else [""]
    return all(part and not set(part) - SMALL for part in parts) and len(value) <= 64


def _is_signal(value):
    name = value[3:] if isinstance(value, str) and value.startswith("SIG") else value
    return isinstance(name, str) and 0 < len(name) <= 12 and "A" <= name[0] <= "Z" and not set(name) - SIGNAL


_U16, _U32 = _below(1 << 16), _below(1 << 32)
_CHECK = {"enabled?": bool, "path?": str, "host?": str, "scheme?": str, "expected?": [_U16], "allow?": [_is_allowance]}
# From `release/hooks.rs`.
_HOOK_NAMES = (
    "after_rollback?",
    "after_switch?",
    "before_migrate?",
    "on_failure?",
)
_HOOKS = dict.fromkeys(_HOOK_NAMES + tuple(name.replace("_", "-") for name in _HOOK_NAMES), _are_hooks)
# docs/reference/settings.md. Nothing here is used by an install, but it must be what a deploy understands.
_SERVICE = {
    "name": _is_service_name,
    "run?": _is_command,
    "unit?": str,
    "action?": ("restart", "reload"),
    "touch?": str,
    "command?": _is_command,
    "socket?": bool,
    "instances?": _U32,
    "handover?": ("restart", "drain"),
    "schedule?": str,
    "stop?": {"signal?": _is_signal, "timeout?": int},
    "loosen?": [("home", "system", "devices", "shared-tmp", "namespaces", "address-families", "system-calls", "privileges")],
    "hosts?": ("all", "one"),
    "probe?": {
        "path?": str,
        "url?": str,
        "command?": _is_command,
        "socket?": str,
        "host?": str,
        "expected?": [_U16],
        "successes?": _U32,
        "deadline?": int,
    },
    "stays-up?": int,
    "stays_up?": int,
    "watchdog?": int,
}
_RELEASE = {
    "settings?": str,
    "application?": str,
    "prepare?": [_is_command],
    "hooks?": _HOOKS,
    "shared?": [str],
    "owner?": str,
    "group?": str,
    "pass_environment?": [str],
    "static_root?": str,
    "keep_static?": _U32,
    "keep?": int,
    "server?": _is_server,
    "check?": _is_check,
    "probe?": {"url": str, "socket?": str, "host?": str, "expected?": [_U16], "successes?": _U32, "deadline?": int},
    "timeouts?": {"check?": int, "prepare?": int, "reload?": int, "hook?": int},
    "service?": [_is_service],
    "unit_name?": str,
    "fork?": bool,
    "systemd?": ("system", "user"),
    "singletons?": bool,
}
# Each may be spelled with dashes.
_RELEASE.update({key.replace("_", "-"): part for key, part in _RELEASE.items()})
_MANIFEST = {
    "format": int,
    "name": str,
    "version?": str,
    "built_by": str,
    "project": {"directory": str, "import_path": str, "static_root?": str, "digest": "sha256"},
    "targets": [
        {
            "python": _is_minor_version,
            "abi": _is_abi_tag,
            "platform": _is_required_platform,
            "wheels": [str],
            "pip": str,
            "unpacked": {"bytes": int, "inodes": int},
            # Not every Python can inflate it: `bytecode.py`.
            "bytecode?": {"cache_tag": str, "magic": str},
            "needs?": _NEEDS,
            "collisions?": [{"path": str, "wheel": str}],
        }
    ],
    "environment": {"precedence?": ("file", "process"), "required?": [str], "private?": bool},
    "release?": _RELEASE,
    "interpreter?": {"version": str, "machine": str, "glibc?": str, "built?": str, "digest": "sha256"},
    "wheels": [{"path": str, "name": str, "version": str, "direct_url?": _DIRECT_URL, "built?": bool, "needs?": _NEEDS}],
    "allowed?": [{"rule": str, "name": str, "reason?": str}],
    "members": [{"path": str, "size": int, "sha256": "sha256", "kind": ("file", "executable", "link")}],
}


def read_manifest(data, name):
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise broken(name, "its manifest has more than %d values" % MOST_VALUES)
    try:
        text = data.decode("utf-8")
        # A single character may make all others take four bytes.
        if sys.getsizeof(text) > LARGEST_TEXT:
            raise broken(name, "its manifest takes more than %d MB of memory" % (LARGEST_TEXT >> 20))
        # Another format may have other rules, so its number is looked at first.
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken(name, "its manifest is not JSON: %s" % error) from None
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is int and version > 1:
        hint = "install it with the program that built it, or a newer one"
        built_by = manifest.get("built_by")
        message = "%s has format %d: it was built by %s, and this is an older program" % (name, version, built_by)
        raise Failure(NEWER, message, hint=hint)
    if type(version) is int and version != 1:
        raise broken(name, "its manifest has the unknown format %d" % version)
    del manifest
    try:
        manifest = json.loads(text, object_pairs_hook=_object, parse_int=_int, parse_constant=_no_constant)
        del text
        # Half of a surrogate pair, which only an escape can be, cannot be written as UTF-8.
        if b"\\u" in data:
            json.dumps(manifest, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        raise broken(name, "its manifest is not JSON: %s" % error) from None
    problem = mismatch(manifest, _MANIFEST, "") or _problem(manifest)
    if problem:
        raise broken(name, "its manifest: %s" % problem)
    return manifest


def _problem(manifest):
    project = manifest["project"]
    directory, import_path = project["directory"], project["import_path"]
    if not manifest["targets"]:
        return "it has no target"
    if not all(part and not set(part) - SMALL for part in manifest["name"].split("-")):
        return "its name is not normalised"
    release = manifest.get("release", {})
    if len({key.replace("-", "_") for key in release}) != len(release):
        return "release has a key in two spellings"
    if not is_safe(directory) or has_control(directory) or "/" in directory or directory in TAKEN:
        return "project.directory cannot be the name of the directory with the code"
    if "interpreter" in manifest and directory == "python":
        return "the code and the interpreter are both in python"
    if not is_safe(import_path) or has_control(import_path) or import_path.split("/")[0] != directory:
        return "project.import_path is not in project.directory"
    static_root = project.get("static_root", directory + "/static")
    is_safe_root = is_safe(static_root) and not has_control(static_root) and static_root.startswith(directory + "/")
    if not is_safe_root or (import_path + "/").startswith(static_root + "/"):
        return "project.static_root cannot be the directory of static files"
    return None


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    if None in result.values():
        raise ValueError("a value is null")
    return result


def _int(text):
    if text == "-0":
        raise ValueError("the number -0 is not allowed")
    return int(text)


def _no_constant(text):
    raise ValueError("%s is not a number" % text)


def mismatch(value, schema, where):
    """What is wrong with a value, or None."""
    here = where or "it"
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return "%s is not an object" % here
        expected = {key.rstrip("?"): part for key, part in schema.items()}
        if "*" in expected:
            expected = dict.fromkeys(value, expected["*"])
        for key in value:
            if key not in expected:
                return "%s has the unknown key %a" % (here, key)
        for key in schema:
            if not key.endswith("?") and key not in value:
                return "%s lacks %s" % (here, key)
        below = ((value[key], part, (where + "." + key).lstrip(".")) for key, part in expected.items() if key in value)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            return "%s is not an array" % here
        below = ((item, schema[0], "%s[%d]" % (where, index)) for index, item in enumerate(value))
    elif isinstance(schema, tuple):
        return None if isinstance(value, str) and value in schema else "%s is not one of %s" % (here, ", ".join(schema))
    elif schema == "sha256":
        right = isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdefABCDEF")
        return None if right else "%s is not a SHA-256" % here
    elif schema is int:
        return None if type(value) is int and 0 <= value < 1 << 64 else "%s is not a whole number of 64 bits" % here
    elif not isinstance(schema, type):
        return None if schema(value) else "%s is not as it must be" % here
    else:
        return None if isinstance(value, schema) else "%s is not of its type" % here
    for item, part, path in below:
        problem = mismatch(item, part, path)
        if problem:
            return problem
    return None
