"""Bytecode of modules: out of the artifact's packs, if this Python can inflate them, else compiled where they are installed.

Compiling starts processes with compile.py, one after the other, and talks to them. A fresh one compiles each batch, in
the order of the paths: so the bytes are the same as those of the native installer. Files are read and written here, so
that what fails is told as for every other file.
"""

import importlib.util
import json
import os
import struct
import subprocess
import time

from exits import FAILED
from failure import Failure, shown
from manifest import MOST_VALUES
from rules import broken

try:
    from compression import zstd  # from Python 3.14 on
except ImportError:
    zstd = None

# Larger sources are nobody's modules; the builder leaves them out too.
LARGEST_MODULE = 64 << 20
# Bytes of source, as the native installer has it.
BATCH = 1 << 20
# The owner of the bytecode that is made here.
OURS = "its bytecode"
# docs/reference/format.md, "Packs of bytecode".
SIGNATURE = b"WBCODE1\n"
LARGEST_INDEX, LARGEST_WINDOW, LARGEST_FRAME = 16 << 20, 24, 64 << 20


class Modules:
    """The modules of an install that need bytecode."""

    def __init__(self, facts):
        self.facts = facts
        self.batches = []  # of paths
        self.count = 0

    def add(self, tree, sources, owner):
        """`sources` is of one owner, all of whose files are there: paths and sizes.

        Gives the bytecode of them that another wheel, which has the same source, has brought."""
        batch, total, brought = [], 0, []
        for path, size in sorted(sources, key=lambda source: source[0].encode("utf-8")):
            bytecode = self.path(path)
            # A wheel may bring a __pycache__ of its own.
            if size > LARGEST_MODULE or bytecode in tree.owners:
                if tree.owners.get(bytecode) not in (None, OURS, owner):
                    brought.append(bytecode)
                continue
            tree.owners[bytecode] = OURS
            if batch and total + size > BATCH:
                self.batches.append(batch)
                batch, total = [], 0
            batch.append(path)
            total += size
            self.count += 1
        if batch:
            self.batches.append(batch)
        return brought

    def path(self, source):
        """Where the bytecode of a module goes (PEP 3147)."""
        directory, slash, name = source.rpartition("/")
        return "%s%s__pycache__/%s.%s.pyc" % (directory, slash, name[: -len(".py")], self.facts["cache_tag"])

    def compile(self, root, destination):
        """Compiles all of them below `root`, which will be `destination`; gives the paths of those that compile."""
        job, source = _Job(self, root, destination), source_of("compile")
        for batch in self.batches:
            job.compile_batch(batch, source)
        return job.compiled


class Packs:
    """The bytecode that the artifact carries for this Python, if it can be read here."""

    def __init__(self, archive, target, facts):
        carried = target.get("bytecode", {})
        fits = all(carried.get(key) == facts[key] for key in ("cache_tag", "magic"))
        self.usable = zstd is not None and fits
        self.archive, self.prefix = archive, ".wheelbarrow/bytecode/%s/" % facts["cache_tag"]
        self.named = {}  # by pack: the paths of modules by their names in the pack

    def add(self, name, named):
        """The pack of a wheel, by its file name, or `project`."""
        self.named[name] = named

    def write(self, modules, root, destination):
        """Writes the bytecode of those of `modules` that a pack has; gives their paths."""
        wanted = {path for batch in modules.batches for path in batch}
        job = _Job(modules, root, destination)
        for name, named in sorted(self.named.items()):
            pack = "%s%s.pack" % (self.prefix, name)
            if pack not in self.archive.members:
                continue
            try:
                for module, code in codes(self.archive.read(pack)):
                    if named.get(module) in wanted:
                        job.store(named[module], code)
            except (KeyError, TypeError, ValueError, RecursionError, zstd.ZstdError) as error:
                raise broken(self.archive.name, "%s is damaged: %s" % (pack, error))
        return job.compiled


def codes(chunks):
    """Names and code objects of a pack."""
    reader = _Reader(chunks)
    if reader.take(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("it does not begin as a pack")
    packed = reader.take(min(struct.unpack("<I", reader.take(4))[0], LARGEST_INDEX))
    limits_of_index = {zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW}
    index = zstd.ZstdDecompressor(options=limits_of_index).decompress(packed, LARGEST_INDEX + 1)
    if len(index) > LARGEST_INDEX or sum(index.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES:
        raise ValueError("its index is too large")
    for frame in json.loads(index.decode("utf-8"))["frames"]:
        size = frame["size"]
        if size != sum(length for _, length in frame["files"]) or not 0 <= size <= LARGEST_FRAME:
            raise ValueError("the files of a frame do not add up")
        plain = zstd.ZstdDecompressor().decompress(reader.take(frame["compressed"]), size + 1)
        if len(plain) != size:
            raise ValueError("a frame does not have the size in its index")
        start = 0
        for name, length in frame["files"]:
            yield name, plain[start : start + length]
            start += length


class _Reader:
    def __init__(self, chunks):
        self.chunks, self.rest = iter(chunks), b""

    def take(self, count):
        parts, have = [self.rest], len(self.rest)
        while have < count:
            chunk = next(self.chunks, None)
            if chunk is None:
                raise ValueError("it is cut off")
            parts.append(chunk)
            have += len(chunk)
        joined = b"".join(parts)
        self.rest = joined[count:]
        return joined[:count]


def source_of(module):
    """Its text, from wherever it would be imported."""
    try:
        return importlib.util.find_spec(module).loader.get_source(module)
    except ImportError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None  # which names the file
        raise


class _Job:
    def __init__(self, modules, root, destination):
        self.modules, self.root, self.destination = modules, root, destination
        self.time = int(time.time())
        self.magic = bytes.fromhex(modules.facts["magic"])
        self.compiled = set()

    def compile_batch(self, batch, source):
        process = self.start(batch[0], source)
        try:
            for module in batch:
                self.compile(process, module)
        finally:
            process.kill()  # it has nothing to lose
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                try:
                    pipe.close()
                except OSError:
                    pass  # a question that nobody will read

    def start(self, module, source):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment.update(PYTHONHASHSEED="0", PYTHONUTF8="1")
        command = [os.fsencode(self.modules.facts["executable"]), "-s", "-S", "-B", "-c", source]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            return subprocess.Popen(command, env=environment, **pipes)
        except OSError as error:
            raise self.failure(module, error.strerror or error)

    def failure(self, module, cause):
        path = shown(self.destination + b"/" + module.encode("utf-8"))
        what = "%s cannot compile %s" % (self.modules.facts["executable"], path)
        return Failure(FAILED, what, cause, "--compile never installs without bytecode")

    def compile(self, process, module):
        path = self.root + b"/" + module.encode("utf-8")
        with open(path, "rb") as file:
            source = file.read()
        name = self.destination + b"/" + module.encode("utf-8")
        code = self.ask(process, module, b"".join(struct.pack("<I", len(part)) + part for part in (name, source)))
        os.utime(path, (self.time, self.time))
        if code:
            self.store(module, code)

    def store(self, module, code):
        """Writes the bytecode of a module, and gives its source the time that the bytecode names."""
        path = self.root + b"/" + module.encode("utf-8")
        os.utime(path, (self.time, self.time))
        # Before PEP 552, which came with this magic number of Python 3.7, there were no flags.
        flags = b"" if int.from_bytes(self.magic[:2], "little") < 3392 else bytes(4)
        size = os.stat(path).st_size
        header = self.magic + flags + struct.pack("<II", self.time & 0xFFFFFFFF, size & 0xFFFFFFFF)
        self.write(self.root + b"/" + self.modules.path(module).encode("utf-8"), header + code)
        self.compiled.add(module)

    def ask(self, process, module, question):
        try:
            process.stdin.write(question)
            process.stdin.flush()
            length = process.stdout.read(4)
            if len(length) == 4:
                length = struct.unpack("<I", length)[0]
                code = process.stdout.read(length)
                if len(code) == length:
                    return code
        except OSError:
            pass  # what the process says of its end tells more than a broken pipe
        process.kill()
        status = process.wait()
        said = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        # What dies before it runs says after the reason where it was.
        said = [line for line in said if line and not line.startswith((" ", "\t", "Current thread"))]
        ended = "signal: %d" % -status if status < 0 else "exit status: %d" % status
        raise self.failure(module, ": ".join(["it ended (%s)" % ended] + said[-1:]))

    def write(self, path, data):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                descriptor = os.open(path, flags, 0o666)
            except FileNotFoundError:
                os.mkdir(os.path.dirname(path))
                descriptor = os.open(path, flags, 0o666)
            with open(descriptor, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError as error:
            # Those of writing and closing do not say in which file.
            error.filename = error.filename or path
            raise
