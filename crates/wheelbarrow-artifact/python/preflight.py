"""`--check` in plain Python: everything that would refuse an install, found without writing anything."""

import os
import sys

import data
import needs
import policy
from artifact import Artifact, opened
from destination import check_place, check_right, no_programs, too_little
from failure import Failure, failure_of, shown
from printing import say, say_json
from wheels import Wheel


def check(artifact, facts, options):
    """Prints the findings; the exit code is 0 or that of the first that would refuse an install."""
    findings, site, count, own = find(artifact.encode("utf-8"), facts, options)
    contents = "%d wheel%s" % (count, "" if count == 1 else "s")
    if own:
        contents += ", Python %(version)s in %(path)s" % own
    ready = "ok: %s can be installed in %s (%s)" % (site, options["destination"], contents)
    return tell(findings, options, ready, own)


def tell(findings, options, ready="", own=None):
    """The same lines and the same JSON as from the native installer."""
    # What is only to be known comes last.
    findings = sorted(findings, key=lambda finding: finding["exit_code"] or 256)
    code = findings[0]["exit_code"] if findings else 0
    if options["json"]:
        told = {"ok": code == 0, "findings": findings}
        if own:
            told["interpreter"] = own
        say_json(sys.stdout, told)
    else:
        for finding in findings:
            say(sys.stdout, line(finding))
        if code == 0 and not options["quiet"]:
            say(sys.stdout, ready)
    return code


def line(finding):
    parts = [finding["what"]]
    parts += [mark + finding[key] for mark, key in ((": ", "why"), ("; hint: ", "hint")) if finding[key]]
    return "".join(parts).replace("\n", " ").replace("\r", " ")


def find(artifact, facts, options):
    """The findings; the site, the number of its wheels and the Python that it brings, as far as they are known."""
    findings, site, target, archive, own = [], "", None, None, None

    def attempt(what, *arguments):
        try:
            return what(*arguments)
        except Failure as failure:
            findings.append(failure.finding())
        except OSError as error:
            findings.append(failure_of(error, "cannot install to %s" % options["destination"]).finding())
        return None

    destination = options["destination"].encode("utf-8")
    parent = os.path.dirname(destination)
    standing = parent
    while not os.path.isdir(standing):
        standing = os.path.dirname(standing)
    try:
        file = opened(artifact)
    except OSError as error:
        findings.append(failure_of(error, "cannot read %s" % shown(artifact)).finding())
        file = None
    if file is not None:
        with file:
            archive = attempt(Artifact, file, shown(artifact))
            if archive is not None:
                site = " ".join(filter(None, (archive.manifest["name"], archive.manifest.get("version"))))
                facts = attempt(archive.facts, facts, options["destination"]) or facts
                if archive.brings_python:
                    own = {"version": archive.manifest["interpreter"]["version"], "path": options["destination"] + "/python"}
                target = attempt(archive.target, facts)
                if target is not None:
                    findings += [failure.finding() for failure in needs.failures(archive.manifest, target, facts)]
                attempt(archive.verify)
                # Of one that is not whole, or does not fit, nothing can be said.
                if not findings:
                    short = attempt(lambda: too_little(standing, file_sizes(archive, target))) or []
                    findings += [failure.finding() for failure in short]
    attempt(check_place, destination, options["replace"], artifact)
    attempt(data.check, destination, options)
    attempt(check_right, standing, destination)
    notes = [attempt(no_programs, standing, destination)] + policy.notes(standing, destination) + [environment_note(facts)]
    findings += [note.finding() for note in notes if note]
    return findings, site, len(target["wheels"]) if target else 0, own


def file_sizes(archive, target):
    """Of the files in the wheels of `target` and of all else in the artifact."""
    wheels = {wheel["path"] for wheel in archive.manifest["wheels"]}
    sizes = [member["size"] for member in archive.manifest["members"] if member["path"] not in wheels]
    for path in target["wheels"]:
        sizes += [member.size for member in Wheel(archive.window(path), path).members]
    return sizes


def environment_note(facts):
    """What to tell of a Python that starts only with variables, which services do not have by themselves."""
    named = " ".join("%s=%s" % item for item in sorted(facts.get("environment", {}).items()))
    if not named:
        return None
    return Failure(
        0,
        "this Python does not start without %s" % named,
        hint="whatever starts the site's Python must set that: services, cron jobs; `wheelbarrow unit` prints it",
    )
