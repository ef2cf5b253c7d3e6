# The door of an artifact: finds out what this Python is and hands over to an installer, native where that runs, else
# in Python. Down to the version check this file must be read by every Python from 2.7 on, so that an old one can say
# what is wrong with one line instead of a SyntaxError.
import sys

if sys.version_info < (3, 6):
    sys.stderr.write(
        "error: this needs Python 3.6 or newer, and %s is Python %d.%d; start it with a newer one: python3 %r -d DEST\n"
        % ((sys.executable or "this",) + tuple(sys.version_info[:2]) + (sys.argv[0],))
    )
    sys.exit(2)

import _signal  # noqa: E402 (built in, unlike signal, whose enumerations take time)
import os  # noqa: E402

# Before `main` nobody catches an interrupt, and Python would print a traceback.
IS_INTERRUPTIBLE = __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if IS_INTERRUPTIBLE:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

PROLOGUE = "Install this site: its code and a fresh virtualenv with every dependency, without a network."
USAGE = """\
%(prog)s -d DEST [options]
       %(prog)s COMMAND ...          one of the commands below; COMMAND --help says more"""
EPILOGUE = """\
The site will run on the Python that runs this file. Installation is atomic: DEST is complete or absent.
environment.json in DEST stays as it is.

examples:
  %(prog)s -d /srv/site                     install with the python3 on PATH
  python3.12 %(prog)s -d /srv/site          install for another Python
  %(prog)s -d /srv/site --replace           replace the install in DEST by this one
  %(prog)s -d /srv/site --check             only check whether it would work
  %(prog)s --probe                          print the `--target` that fits this machine
  /srv/site/venv/bin/python manage.py check      use what was installed
  %(prog)s deploy --root /srv/site          make a release: check, switch, probe; roll back if it fails

commands: %(commands)s

exit codes: 0 done, 1 failed, 2 wrong usage, 3 this file is broken, 4 it does not fit this Python or system,
5 the destination is refused, 6 no space, 17 the host requires a signature
"""
# Commands of the program that builds.
BUILDING = ("audit", "build", "cache", "diff", "init", "inspect", "install", "sbom", "sign", "targets", "thin")
# The commands on releases, which the standalone binary has. Made from wheelbarrow-commands.
COMMANDS = (
    "deploy activate check migrate rollback list find status history prune remove rescue pin unpin singletons "
    "recover env exec unit doctor store verify".split()
)
# The same as in exits.py, which is in the artifact.
SITE = "https://wheelbarrow.github.io/wheelbarrow/"
# If it exists, the host decides whether an artifact may be installed, and not the artifact.
HOST_SIGNERS = "/etc/wheelbarrow/allowed_signers"
# The native installer's exit code for too little memory, after which nothing is left of its work.
NO_MEMORY = 75
# How a program dies that the kernel or a sandbox does not let work here.
UNABLE = ("SIGSYS", "SIGILL", "SIGTRAP", "SIGSEGV", "SIGBUS")


def main():
    sys.dont_write_bytecode = True
    reset_signals()
    open_standard_streams()
    try:
        artifact = absolute(os.path.dirname(__file__))
        # The site's own packages lie at the top of the zip: one named like a module of the standard library must not win.
        sys.path[:] = [path for path in sys.path if not is_at(path, artifact)]
        if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
            return command(artifact, sys.argv[1:])
        return work(artifact)
    except Gone as gone:
        return fail(
            5,
            "the working directory was removed, and %s is relative to it\n"
            "hint: change to a directory that exists, or use absolute paths" % gone,
        )


def work(artifact):
    """All but the commands on releases."""
    sys.path.insert(0, os.path.join(artifact, ".wheelbarrow", "python"))
    if "--probe" in sys.argv:
        # Nothing of an install is begun.
        return tell_target(parse(artifact))
    # The kernel's machine is nearly always that of this Python, and asking for it takes no import.
    machine = os.uname()[4]
    program = Ahead(native_program, artifact, "linux-" + machine)
    import interpreter

    if interpreter.machine() != machine:
        program = Ahead(native_program, artifact, "linux-" + interpreter.machine())
    options = parse(artifact)
    if options.probe:  # abbreviated
        return tell_target(options)
    if may_exist(HOST_SIGNERS):
        return fail(
            17,
            "this host accepts signed artifacts only (%s), and an artifact cannot verify itself\n"
            "hint: use the wheelbarrow of the host: wheelbarrow install %s -d DEST%s; a standalone binary has no `install`: "
            "wheelbarrow deploy %s --root ROOT, and wheelbarrow verify to check it"
            % (HOST_SIGNERS, sys.argv[0], " --check" if options.check else "", sys.argv[0]),
        )
    destination = absolute(options.destination)
    before = working_directory()
    code = install(artifact, destination, options, program)
    if code == 0 and before is not None and working_directory() is None and not options.quiet:
        from shlex import quote

        say("note: the working directory was replaced: run `cd %s` to enter the new install" % quote(destination))
    return code


def tell_target(options):
    import probe

    return probe.tell(options.json)


def may_exist(path):
    """Whether something is there, a link without a target too. What cannot be looked at may be there."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def install(artifact, destination, options, program):
    """Installs or checks; returns the exit code."""
    import interpreter

    try:
        facts = interpreter.facts(os.path.join(destination, "venv"))
        request = {
            "artifact": interpreter.text(artifact),
            "options": {
                "destination": interpreter.text(destination),
                "replace": options.replace,
                "store": options.store and interpreter.text(absolute(options.store)),
                "link_mode": options.link_mode,
                "pip": options.pip,
                "compile": options.compile,
                "check": options.check,
                "quiet": options.quiet,
                "json": options.json,
            },
        }
        if options.discard_data:
            request["options"]["discard_data"] = True
        if not options.bootstrap:
            code = install_natively(program, request, facts)
            if code is not None:
                return code
    except interpreter.Unusable as error:
        if options.check:
            import preflight

            finding = {"what": str(error), "why": None, "hint": "name another destination, or use another Python", "exit_code": 5}
            return preflight.tell([finding], {"json": options.json, "quiet": options.quiet})
        return fail(5, str(error))
    if options.check:
        import preflight

        return preflight.check(request["artifact"], facts, request["options"])
    if options.store:
        say("note: the fallback installer does not use a store: %s is left as it is" % options.store)
    import bootstrap

    return bootstrap.install(request["artifact"], facts, request["options"])


class Gone(Exception):
    """A path that is relative to a working directory that was removed."""


def absolute(path):
    """As os.path.abspath. Where the working directory was removed, the kernel still knows what `..` was in it."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        pass
    directory, name = os.path.split(os.path.normpath(path))
    if name in (os.curdir, os.pardir):
        directory, name = name, ""
    try:
        held = os.open(directory or os.curdir, os.O_PATH)
        try:
            place = os.readlink("/proc/self/fd/%d" % held)
            if os.path.samestat(os.stat(place), os.fstat(held)):
                return os.path.join(place, name) if name else place
        finally:
            os.close(held)
    except OSError:
        pass
    raise Gone(path or os.curdir)


def is_at(path, artifact):
    try:
        return absolute(path) == artifact
    except Gone:
        return False


def working_directory():
    """Its path, or None after it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


class Ahead:
    """What a function gives or raises, while a thread works on it."""

    def __init__(self, function, *arguments):
        import _thread

        import limits

        self.function, self.arguments = function, arguments
        self.result = self.error = None
        self.working = _thread.allocate_lock()
        self.working.acquire()
        try:
            if limits.threads() == 0:
                raise RuntimeError("no room for a thread")
            _thread.start_new_thread(self.work, ())
        except RuntimeError:  # this process may have no more threads
            self.work()

    def work(self):
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:  # it ends the thread that asks, not this one
            self.error = error
        finally:
            self.working.release()

    def __call__(self):
        with self.working:
            if self.error is not None:
                raise self.error
            return self.result


def reset_signals():
    """What the parent ignores or blocks: without SIGCHLD no child has an exit status, and a blocked signal never arrives.

    SIGHUP, SIGINT and SIGQUIT stay as they are: nohup and shells ignore them on purpose. Python ignores SIGPIPE itself."""
    kept = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGPIPE, getattr(_signal, "SIGXFSZ", None))
    for number in range(1, _signal.NSIG):
        try:
            if number not in kept and _signal.getsignal(number) == _signal.SIG_IGN:
                _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # there is no such signal
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def open_standard_streams():
    """A closed standard stream would give its number, and what is written to it, to the next file that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def printable(text):
    """Without control characters, which a terminal obeys: names and versions may hold anything."""
    return "".join(one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text)


def say(line):
    try:
        sys.stderr.buffer.write(printable(line).encode("utf-8", "backslashreplace") + b"\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass


def fail(code, text):
    """Prints an error, its hint, and where it is explained. Returns the exit code."""
    say("error: %s\ndocs: %stroubleshooting/#exit-%d" % (text, SITE, code))
    return code


def parse(artifact):
    import argparse

    name = printable(os.path.basename(artifact))
    parser = argparse.ArgumentParser(
        prog=name,
        usage=USAGE,
        description=PROLOGUE,
        epilog=EPILOGUE % {"prog": name, "commands": "\n  ".join(map(", ".join, (COMMANDS[:11], COMMANDS[11:])))},
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def refuse(message):
        say("error: %s\nhint: %s --help" % (message, name))
        sys.exit(2)

    parser.error = refuse
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        refuse("unrecognized subcommand '%s'\nhint: %s" % (sys.argv[1], command_hint(sys.argv[1])))
    parser.add_argument("-d", "--destination", metavar="DEST", help="directory to install to; its parent must exist")
    parser.add_argument("--replace", action="store_true", help="exchange the install in DEST for this one, in one step")
    parser.add_argument(
        "--discard-data",
        action="store_true",
        help="with --replace: also remove the files that were written into DEST after it was installed",
    )
    parser.add_argument(
        "--without-pip", dest="pip", action="store_false", help="leave pip out of the virtualenv; the site needs none"
    )
    parser.add_argument("--store", metavar="DIR", help="unpack wheels once into DIR, and link them into DEST")
    parser.add_argument(
        "--link-mode",
        choices=["hardlink", "reflink", "copy"],
        default="hardlink",
        help="how files come out of the store; where that cannot be, they are copied",
    )
    parser.add_argument(
        "--compile",
        metavar="WHEN",
        choices=("auto", "never"),
        default="auto",
        help="whether modules are compiled where this file carries no bytecode for the Python: auto (the default), never",
    )
    parser.add_argument("--bootstrap", action="store_true", help="use the fallback installer: slower, the same result")
    parser.add_argument("--check", action="store_true", help="say everything that would refuse the install, and write nothing")
    parser.add_argument(
        "--probe", action="store_true", help="say what this machine is, for `wheelbarrow build --target`, and end"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--version", action="store_true", help="print what this file holds, and end")
    options = parser.parse_args()
    if options.version:
        print_version(artifact)
        sys.exit(0)
    if options.discard_data and not options.replace:
        refuse("--discard-data is for --replace")
    if not options.destination and not options.probe:
        refuse("no destination: name one with -d DEST, or a command, such as `deploy --root ROOT`")
    return options


def command_hint(word):
    """What may have been meant."""
    if word in BUILDING:
        return "`wheelbarrow %s` is a command of the program that builds, not of an artifact" % word
    from difflib import get_close_matches

    alike = get_close_matches(word, COMMANDS, 1)
    return "did you mean `%s`?" % alike[0] if alike else "the commands are: %s" % ", ".join(COMMANDS)


def print_version(artifact):
    import json

    with open_zip(artifact) as archive:
        manifest = json.loads(archive.read(".wheelbarrow/manifest.json").decode("utf-8"))
    names = [manifest["name"], manifest.get("version"), "(%s)" % manifest["built_by"]]
    sys.stdout.write(printable(" ".join(filter(None, names))) + "\n")


def open_zip(artifact):
    import zipfile

    try:
        return zipfile.ZipFile(artifact)
    except (OSError, zipfile.BadZipFile) as error:
        code = 3 if isinstance(error, zipfile.BadZipFile) else 1
        sys.exit(fail(code, "cannot read %s\nCaused by: %s" % (artifact, error)))


# The native installer


class Unable(Exception):
    """The native installer cannot run here."""


class Missing(Unable):
    """This file has none: it is for another machine, or thin."""

    def __init__(self, name):
        super().__init__("this file has none for %s" % name)
        self.name = name

    def fail(self):
        raise self


class Broken(Exception):
    """This file is."""


def install_natively(program, request, facts):
    """Its exit code, or None where it cannot run; the reason is then on stderr."""
    options = request["options"]
    try:
        try:
            return run(program_or_kept(program, request), None if options["check"] else options["destination"], (request, facts))
        except Broken as error:
            if options["check"]:
                raise Unable("it is broken")  # which is one of the findings
            return broken(request["artifact"], error)
    except Unable as reason:
        say("note: using the fallback installer, since the standalone binary cannot run here: %s" % reason)
        return None


def program_or_kept(program, request):
    try:
        return program()
    except Missing as missing:
        import thin

        return thin.program(request["artifact"], missing.name, request["options"]["store"]) or missing.fail()


def broken(artifact, error):
    return fail(3, "%s is broken\nCaused by: %s" % (artifact, error))


def native_program(artifact, name):
    """Takes as long as all else that is done here, most of it without the interpreter's lock.

    zipimport has read the directory already; zipfile would do so again, after an import that takes longer than this."""
    import zipimport
    import zlib

    member = ".wheelbarrow/native/" + name
    importer = zipimport.zipimporter(artifact)
    try:
        files = importer._get_files() if hasattr(importer, "_get_files") else importer._files
        found = files[member.replace("/", os.sep)]
        method, packed_size, size, offset = found[1:5]
        with open(artifact, "rb") as file:
            file.seek(offset)
            header = file.read(30)
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            program = file.read(packed_size)
        if method == 8:
            program = zlib.decompress(program, -15, size)
    except KeyError:
        raise Missing(name)
    except AttributeError:  # a Python to come, which keeps that elsewhere
        with open_zip(artifact) as archive:
            if member not in archive.namelist():
                raise Missing(name)
            return archive.read(member)
    except (OSError, EOFError, ValueError, zlib.error, zipimport.ZipImportError) as error:
        raise Broken("%s: %s" % (member, error))
    if len(program) != size or zlib.crc32(program) != found[7] & 0xFFFFFFFF:
        raise Broken("%s: bad CRC-32" % member)
    return program


def run(program, destination, request):
    """Runs the program from memory, or from a private file beside the destination where that is not allowed.

    Without a destination nothing may be written."""
    try:
        memory = program_in_memory(program)
    except (AttributeError, OSError):
        memory = None
    if memory is not None:
        try:
            return execute("/proc/self/fd/%d" % memory, request, (memory,))
        except OSError:
            pass  # no /proc, or memory must not be executed here
        finally:
            os.close(memory)

    if destination is None:
        raise Unable("it cannot be run from memory")
    import staging

    place = staging.Staging(destination.encode("utf-8"))
    try:
        place.open()
    except OSError:
        # The destination will be refused, and for a better reason than this.
        raise Unable("it cannot be written beside the destination")
    try:
        held = program_in_file(program, os.path.join(place.root, b"installer"))
        try:
            return execute("/proc/self/fd/%d" % held, request, (held,))
        finally:
            os.close(held)
    except OSError as error:
        raise Unable(error.strerror or error)
    finally:
        place.discard()


def command(artifact, words):
    """Becomes the native program, which does the command; comes back with an exit code where that cannot be."""
    sys.path.insert(0, os.path.join(artifact, ".wheelbarrow", "python"))
    import interpreter

    facts = interpreter.facts()
    try:
        try:
            program = native_program(artifact, "linux-" + facts["machine"])
        except Missing as missing:
            import thin

            root = thin.root_of(words)
            program = thin.program(artifact, missing.name, root and os.path.join(root, "store"))
            if program is None:
                return missing_command(artifact, missing, root)
        words = [os.path.basename(artifact), artifact, facts["executable"]] + words
        try:
            memory = program_in_memory(program)
            os.execve(memory, words, os.environ)
        except (AttributeError, OSError):
            return command_from_file(program, words)
    except Broken as error:
        return broken(artifact, error)
    except Unable as reason:
        return fail(
            4,
            "releases need the standalone binary, which cannot run here: %s\n"
            "hint: -d DEST installs by the fallback installer" % reason,
        )


def missing_command(artifact, missing, root):
    import thin

    if not thin.is_thin(artifact):
        raise missing
    where = "the store of %s does not have it either" % root if root else "--root is missing, which names its store"
    return fail(
        18,
        "%s is a thin artifact without the standalone binary, and %s\n"
        "hint: use the full artifact, or run an installed `wheelbarrow deploy`" % (os.path.basename(artifact), where),
    )


def command_from_file(program, words):
    """Where programs may not run from memory: from a private directory that is removed in the end."""
    import shutil
    import subprocess
    import tempfile

    place = None
    try:
        place = tempfile.mkdtemp(prefix="wheelbarrow-")
        held = program_in_file(program, os.path.join(place, "wheelbarrow"))
        try:
            process = subprocess.Popen(words, executable="/proc/self/fd/%d" % held, pass_fds=(held,))
        finally:
            os.close(held)
        return wait(process)
    except OSError as error:
        raise Unable("%s (TMPDIR names another directory)" % (error.strerror or error))
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def wait(process):
    """The exit code of a process that hears of Ctrl-C and of signals as this one does."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, lambda number, _frame: pass_signal(process, number))
    code = exit_status(process)
    return 128 - code if code < 0 else code


def pass_signal(process, number):
    """Not by Popen.send_signal, which collects the exit status of a child that has ended."""
    if process.returncode is None:
        os.kill(process.pid, number)


def exit_status(process):
    """As Popen.wait, which returns 0 for a child whose status somebody else has taken."""
    try:
        status = os.waitpid(process.pid, 0)[1]
    except ChildProcessError:
        process.returncode = 1
        fail(
            1,
            "the exit status of the standalone binary is not available\n"
            "hint: start it from a process that does not collect the exit statuses of its grandchildren",
        )
    else:
        process.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return process.returncode


def program_in_memory(program):
    # Linux 6.3 and later may demand to be told that it will be executed; those before do not know the flag.
    executable = 0x10
    try:
        memory = os.memfd_create("wheelbarrow", os.MFD_CLOEXEC | executable)
    except OSError:
        memory = os.memfd_create("wheelbarrow", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(program)
    except BaseException:
        os.close(memory)
        raise
    return memory


def program_in_file(program, path):
    """A new file, open to be run by its descriptor: somebody else may exchange what the path leads through."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as file:
        file.write(program)
        file.flush()
        return os.open("/proc/self/fd/%d" % file.fileno(), os.O_RDONLY)


def execute(path, request, descriptors):
    """Its exit code. An OSError means that it did not start, Unable that it could not work."""
    import signal
    import subprocess

    process = None
    received = []

    def pass_on(number, _frame):
        received.append(number)
        if process is not None:
            pass_signal(process, number)

    # The installer cleans up when it is told to end; this one waits for it, whoever was told.
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
               if signal.getsignal(number) not in (signal.SIG_IGN, None)]  # fmt: skip
    before = [(number, signal.signal(number, pass_on)) for number in numbers]
    try:
        process = subprocess.Popen([path], stdin=subprocess.PIPE, pass_fds=descriptors)
        if received:
            pass_signal(process, received[-1])
        code = converse(process, request)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    if received and code != 0:
        return 128 + received[-1]
    if code == NO_MEMORY:
        raise Unable("there is not enough memory for it")
    if code < 0:
        names = {int(getattr(signal, name)): name for name in UNABLE}
        if -code in names:
            raise Unable("it was ended by %s" % names[-code])
        return 128 - code
    return code


def converse(process, request):
    """Its exit code."""
    import json

    try:
        with process.stdin as stream:
            for part in request:
                stream.write(json.dumps(part).encode("ascii") + b"\n")
    except OSError:
        pass  # it ended without reading; its exit code says more
    finally:
        code = exit_status(process)
    return code


def is_limited():
    """Whether this process may not have all the memory there is, as far as that was asked."""
    limits = sys.modules.get("limits")
    return limits is not None and limits.threads() != sys.maxsize


if __name__ == "__main__":
    try:
        if IS_INTERRUPTIBLE:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        code = main()
    except KeyboardInterrupt:
        code = 130
    except (MemoryError, SystemError) as error:
        # An import that memory is too short for may fail without an exception, which Python calls a SystemError.
        if isinstance(error, SystemError) and not is_limited():
            raise
        code = fail(1, "not enough memory\nhint: raise the limit (`ulimit -v`, or the limit of the container or service)")
    except ImportError:
        # Before Python 3.8 zipimport may lose an interrupt, and with it the module that it was looking for.
        if sys.version_info >= (3, 8):
            raise
        code = 130
    except SystemExit as ending:
        code = ending.code or 0
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        pass
    # What the reader of a pipe left unread is lost anyway; Python would complain about it when it ends.
    os._exit(code)
