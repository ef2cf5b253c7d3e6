"""The second way to install: the tree of docs/reference/format.md in plain Python, for where the native installer cannot run.

Both ways follow the same page and use the same facts of the interpreter, neither runs pip or `venv`; so they leave the
same tree. This one is slower, and needs nothing but the standard library of CPython 3.6 or later.
"""

import hashlib
import json
import os
import signal
import stat
import sys

import bytecode
import data
import needs
import preflight
import wheels
from artifact import LONGEST_PTH, MANIFEST, Artifact, opened
from destination import LARGEST_ENVIRONMENT, check_destination, large_environment, no_programs, too_little
from exits import FAILED, REFUSED
from failure import Failure, failure_of, shown
from printing import say, say_json
from rules import broken
from staging import Staging


def install(artifact, facts, options):
    """Installs, reports, and returns the exit code (docs/reference/exit-codes.md)."""
    signals = _Signals()
    try:
        with signals:
            manifest, target, origin = _install(artifact.encode("utf-8"), facts, options, signals)
    except Failure as failure:
        say(sys.stderr, "\n".join(failure.lines()))
        return failure.code
    except OSError as error:
        told = failure_of(error, "cannot install to %s" % options["destination"])
        say(sys.stderr, "\n".join(told.lines()))
        return told.code
    except MemoryError:
        say(sys.stderr, "error: not enough memory")
        return FAILED
    except Interrupted as interrupted:
        return 128 + interrupted.number
    _report(manifest, target, origin, options)
    return 0


def _report(manifest, target, origin, options):
    name, version, count = manifest["name"], manifest.get("version"), len(target["wheels"])
    if options["json"]:
        result = {
            "destination": options["destination"],
            "name": name,
            "version": version,
            "wheels": count,
            "bytecode": origin,
            "method": "bootstrap",
        }
        say_json(sys.stdout, result)
    elif not options["quiet"]:
        release = " ".join(filter(None, (name, version)))
        wheels_told = "%d wheel%s" % (count, "" if count == 1 else "s")
        say(sys.stdout, "installed %s in %s (%s)" % (release, options["destination"], wheels_told))


class Interrupted(BaseException):
    def __init__(self, number):
        super().__init__(number)
        self.number = number


class _Signals:
    """Turns a signal into an exception, once: what is half built is removed undisturbed, and then the run ends."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self):
        self.before = {number: signal.signal(number, self.raise_it) for number in self.NUMBERS
                       if signal.getsignal(number) not in (signal.SIG_IGN, None)}  # fmt: skip
        return self

    def raise_it(self, number, _frame):
        self.ignore()
        raise Interrupted(number)

    def ignore(self):
        for number in self.before:
            signal.signal(number, signal.SIG_IGN)

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _install(artifact, facts, options, signals):
    destination = options["destination"].encode("utf-8")
    with opened(artifact) as file:
        archive = Artifact(file, shown(artifact))
        facts = archive.facts(facts, options["destination"])
        if archive.brings_python:
            options = dict(options, compile="never")
        target = archive.target(facts)
        needs.check(archive.manifest, target, facts)
        archive.verify()
        Staging(destination).put_right()
        check_destination(destination, options["replace"], artifact)
        data.check(destination, options)
        parent = os.path.dirname(destination)
        for failure in too_little(parent, preflight.file_sizes(archive, target)):
            raise failure
        notes = (no_programs(parent, destination), preflight.environment_note(facts))
        for note in filter(None, notes):
            if not options["quiet"]:
                say(sys.stderr, "note: " + preflight.line(note.finding()))
        with Staging(destination) as staging:
            origin = _write(archive, target, facts, options, staging.root)
            _keep_environment(destination, staging.root)
            kept = _status(destination)
            staging.flush()
            signals.ignore()  # from here it is done or not; whoever interrupts now must not have to wonder which
            staging.publish(options["replace"], kept)
    return archive.manifest, target, origin


def _write(archive, target, facts, options, root):
    """Writes everything below `root`; says where the bytecode is from."""
    tree = wheels.Tree(root)
    virtualenv = facts["virtualenv"]
    tree.directory("venv", "venv")
    for path in virtualenv["directories"]:
        tree.directory("venv/" + path, "venv")
    for path, link_target in virtualenv["links"]:
        tree.link("venv/" + path, link_target, "venv")
    for file in virtualenv["files"]:
        tree.file("venv/" + file["path"], [file["text"].encode("utf-8")], "venv", file["executable"])

    destination = options["destination"].encode("utf-8")
    layout = wheels.Layout(facts, destination)
    modules, sources, records = bytecode.Modules(facts), [], []
    packs, named = bytecode.Packs(archive, target, facts), {}
    has_bytecode = packs.usable or options["compile"] == "auto"
    for member in archive.manifest["members"]:
        path = archive.place(member["path"], layout)
        if path is None:
            continue
        content = archive.read(member["path"])
        if member["kind"] == "link":
            tree.link(path, b"".join(content).decode("utf-8"), "the project")
        elif tree.file(path, content, "the project", member["kind"] == "executable")[0].hex() != member["sha256"].lower():
            raise broken(archive.name, "%s changed while it was read" % member["path"])
        elif archive.compiles(path):
            sources.append((path, member["size"]))
            named[member["path"]] = path
    packs.add("project", named)

    by_path = {wheel["path"]: wheel for wheel in archive.manifest["wheels"]}
    winners = {collision["path"]: collision["wheel"] for collision in target.get("collisions", ())}
    for path, is_pip in _wheels(archive.manifest, target, options):
        record = wheels.install_wheel(archive.window(path), by_path[path], layout, tree, winners, is_pip)
        records.append(record)
        packs.add(path.split("/")[-1], record.named)
        if has_bytecode:
            record.brought = modules.add(tree, record.sources, record.owner)
    first = wheels.first_pth(tree, layout, archive.manifest["project"]["directory"] + ".pth")
    if first is not None and "loadenv-init.pth" in archive.members:
        tree.file(first, [archive.read_small("loadenv-init.pth", LONGEST_PTH)], "the project")
    if has_bytecode:
        modules.add(tree, sources, "the project")
    if packs.usable:
        done, origin = packs.write(modules, root, destination), "carried"
    else:
        _say_of_bytecode(target, facts, modules.count, options)
        done, origin = modules.compile(root, destination), "compiled" if modules.count else "none"
    compiled = {path: modules.path(path) for path in done}
    for record in records:
        record.write(tree, layout, compiled)

    tree.file(MANIFEST, [archive.manifest_bytes], "the manifest")
    sums = tree.sums()
    receipt = {
        "bytecode": origin,
        "format": 1,
        "name": archive.manifest["name"],
        "manifest_sha256": hashlib.sha256(archive.manifest_bytes).hexdigest(),
        "sums_sha256": hashlib.sha256(sums).hexdigest(),
        "target": {key: target[key] for key in ("python", "abi", "platform")},
        "interpreter": {
            "executable": facts["executable"],
            "version": ".".join(str(number) for number in facts["version"]),
        },
        "method": "bootstrap",
        "pip": options["pip"],
        "wheels": target["wheels"],
    }
    if "environment" in facts:
        receipt["interpreter"]["environment"] = facts["environment"]
    if "version" in archive.manifest:
        receipt["version"] = archive.manifest["version"]
    tree.file(".wheelbarrow/SHA256SUMS", [sums], "the sums")
    text = json.dumps(receipt, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    tree.file(".wheelbarrow/receipt.json", [text.encode("utf-8")], "the receipt")
    return receipt["bytecode"]


def _wheels(manifest, target, options):
    """The paths of the wheels that are installed, each with whether it is the bundled pip, which gets no bytecode."""
    by_path = {wheel["path"]: wheel for wheel in manifest["wheels"]}
    # A site that depends on pip brings its own.
    bundled = options["pip"] and not any(by_path[path]["name"] == "pip" for path in target["wheels"])
    paths = target["wheels"] + ([target["pip"]] if bundled else [])
    return [(path, path == target["pip"]) for path in paths]


def _say_of_bytecode(target, facts, count, options):
    carried, python = target.get("bytecode"), target["python"]
    if carried is None:
        reason = "the artifact has no bytecode for Python %s" % python
    elif carried["magic"] != facts["magic"]:
        reason = "the artifact's bytecode for Python %s has the magic number %s, this Python's has %s" % (
            python, carried["magic"], facts["magic"],
        )  # fmt: skip
    else:
        reason = "only the standalone binary can read the bytecode in the artifact for Python %s" % python
    if options["compile"] == "never":
        what = "each start compiles what it imports, until a user starts it who may write in DEST"
        reason = "%s; %s" % (reason, what)
    elif count:
        reason = "%s; compiling %d modules here" % (reason, count)
    else:
        return
    if not options["quiet"]:
        say(sys.stderr, "note: " + reason)


def _status(destination):
    """Of a destination that was prepared with an owner and a mode, which it keeps."""
    try:
        return os.lstat(destination)
    except FileNotFoundError:
        return None


def _keep_environment(old, new):
    """environment.json belongs to the host, not to the artifact: the new tree gets it as it is, mode and owner too."""
    source, copy = old + b"/environment.json", new + b"/environment.json"
    try:
        status = os.lstat(source)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), copy)
        now = os.lstat(copy)
        if (now.st_uid, now.st_gid) != (status.st_uid, status.st_gid):
            os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
        return
    # Whoever else writes there may have exchanged it: what was opened is looked at, and no pipe is waited for.
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as reader:
        status = os.fstat(reader.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Failure(REFUSED, "%s is not a regular file" % shown(source))
        # Nobody may read the secrets between the first byte and the final mode.
        with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writer:
            text = reader.read(LARGEST_ENVIRONMENT + 1)
            if len(text) > LARGEST_ENVIRONMENT:
                raise large_environment(source)
            writer.write(text)
            writer.flush()
            now = os.fstat(writer.fileno())
            if (now.st_uid, now.st_gid) != (status.st_uid, status.st_gid):
                os.fchown(writer.fileno(), status.st_uid, status.st_gid)
            os.fchmod(writer.fileno(), stat.S_IMODE(status.st_mode))
            os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
