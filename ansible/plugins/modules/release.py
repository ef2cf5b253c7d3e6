#!/usr/bin/python
"""Makes a release of an artifact."""

DOCUMENTATION = r"""
module: release
short_description: Make a release of an artifact, without making it live
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Installs an artifact as a release under a site root, by C(wheelbarrow deploy --stage), and looks at it by C(wheelbarrow
    check), which imports the application and has Django check itself. M(wheelbarrow.deploy.activate) makes it live.
  - A good release of the same artifact with the environment of now, on the same Python, is taken as it is. Then no artifact is copied to the host.
  - The artifact is read on the controller, and removed from the host again when its release is there.
options:
  src:
    description:
      - The artifact that C(wheelbarrow build) wrote, on the controller, or on the host with O(remote_src=true).
      - Required where O(state=present).
    type: path
  remote_src:
    description: The artifact is on the host already.
    type: bool
    default: false
  state:
    description: V(absent) removes the release O(release), unless it is live, pinned, or a process runs from it.
    type: str
    choices: [present, absent]
    default: present
  release:
    description: With O(state=absent), the release that is removed, by its id or its number.
    type: str
  check:
    description: Looks at a release that is not live, and fails where it could not be made live.
    type: bool
    default: true
  python:
    description: The Python on the host that the site will run on.
    type: str
    default: python3
  without_pip:
    description: Leaves pip out of the virtualenv.
    type: bool
    default: false
  transfer:
    description:
      - What goes to a host that has no release of this artifact. V(thin) is what it lacks, by its own inventory; V(full) is all;
        V(auto) is what it lacks where that can be made, else all.
      - To make it, the controller needs C(wheelbarrow), see O(controller_executable).
    type: str
    choices: [auto, full, thin]
    default: auto
  controller_executable:
    description: C(wheelbarrow) on the controller, by its name or its path.
    type: str
    default: wheelbarrow
  signature:
    description:
      - V(required) fails where the host has no C(wheelbarrow) of its own, or no file of allowed signers. Then nothing of an artifact is
        run or written that none of them has signed.
      - With V(optional), a host with C(/etc/wheelbarrow/allowed_signers) asks for signatures all the same.
    type: str
    choices: [optional, required]
    default: optional
  allowed_signers:
    description: Who may sign, on the host; else C(/etc/wheelbarrow/allowed_signers).
    type: path
  manifest_sha256:
    description: The SHA-256 of the artifact's manifest. The action plugin finds it out.
    type: str
  artifact:
    description: Where the artifact was put on the host. The action plugin says so.
    type: path
extends_documentation_fragment:
  - wheelbarrow.deploy.common
  - wheelbarrow.deploy.common.changes
attributes:
  check_mode:
    support: full
    description: Says whether a release would be made, and copies nothing.
  diff_mode:
    support: full
    description: Shows which release would be there.
"""

EXAMPLES = r"""
- name: Version 1.5 is there, and could be made live
  wheelbarrow.deploy.release:
    root: /srv/mysite
    src: dist/mysite-1.5.zip
    deploy_id: "{{ deploy_id }}"
  register: staged

- name: A release is gone
  wheelbarrow.deploy.release:
    root: /srv/mysite
    release: 3-0f1e2d3c
    state: absent
"""

RETURN = r"""
id:
  description: The release; null in check mode where it would be made.
  returned: success
  type: str
  sample: 7-1a2b3c4d
is_live:
  description: Whether it is live already.
  returned: where O(state=present)
  type: bool
is_new:
  description: Whether it was made now, or would be.
  returned: where O(state=present)
  type: bool
name:
  description: The name of the site, as the artifact has it.
  returned: where O(state=present) and O(remote_src=false)
  type: str
version:
  description: Its version.
  returned: where O(state=present) and O(remote_src=false)
  type: str
due:
  description: The migrations that are due before it can be live, where it was looked at and the site is Django's.
  returned: where O(state=present)
  type: list
  elements: str
transfer:
  description: What went to the host.
  returned: where O(state=present) and O(remote_src=false)
  type: dict
  contains:
    mode:
      description: V(full) for the whole artifact, V(thin) for what the host lacks, V(none) where none was needed.
      type: str
    bytes:
      description: How large what was copied was.
      type: int
    full_bytes:
      description: How large the artifact is.
      type: int
"""

import os

from ansible_collections.wheelbarrow.deploy.plugins.module_utils.runner import (
    CHANGES,
    Failed,
    Runner,
    difference,
)

HOST_SIGNERS = "/etc/wheelbarrow/allowed_signers"
ARGUMENTS = {
    "src": {"type": "path"},
    "remote_src": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "release": {"type": "str"},
    "check": {"type": "bool", "default": True},
    "python": {"type": "str", "default": "python3"},
    "without_pip": {"type": "bool", "default": False},
    "manifest_sha256": {"type": "str"},
    "artifact": {"type": "path"},
    "transfer": {"type": "str", "choices": ["auto", "full", "thin"], "default": "auto"},
    "controller_executable": {"type": "str", "default": "wheelbarrow"},
    "signature": {"type": "str", "choices": ["optional", "required"], "default": "optional"},
    "allowed_signers": {"type": "path"},
}
RULES = [("state", "present", ["src"]), ("state", "absent", ["release"])]


def main():
    runner = Runner.of(dict(CHANGES, **ARGUMENTS), required_if=RULES)
    params = runner.module.params
    if params["state"] == "absent":
        remove(runner)
    if params["signature"] == "required" or params["allowed_signers"] or os.path.exists(HOST_SIGNERS):
        insist(runner)
    artifact = params["src"] if params["remote_src"] else params["artifact"]
    if artifact:
        runner = Runner(runner.module, artifact, params["python"])
    found = find(runner, params["manifest_sha256"] or artifact)
    if found["id"] is None:
        if artifact is None or (runner.module.check_mode and not runner.is_there):
            would(runner)
        make(runner, artifact)
    take(runner, found)


def insist(runner):
    """Before anything is sent: it is not for an artifact to say who has signed it. Where nothing will be sent, nobody has to."""
    signers = runner.module.params["allowed_signers"] or HOST_SIGNERS
    if not runner.is_there and runner.module.check_mode:
        return
    if not runner.is_there:
        problem = "there is no %s on the host that could judge signatures" % runner.module.params["executable"]
    elif not os.path.isfile(signers):
        problem = "there is no file %s on the host that says who may sign" % signers
    else:
        return
    runner.fail({"error": "signatures are required, and " + problem, "exit_code": 17})


def find(runner, what):
    """The release that is there already, where anybody can say."""
    if what is None or not (runner.is_there and runner.has_root()):
        return {"id": None, "live": None}
    return runner.run(["find", what, "--python", runner.module.params["python"]])


def would(runner):
    """There is none, and no artifact to make it of: in check mode, or because the action plugin asks first, what is here."""
    params = runner.module.params
    diff = difference(runner.root, {"staged": None}, {"staged": params["manifest_sha256"] or "a new release"})
    result = {"id": None, "is_new": True, "is_live": False, "due": [], "diff": diff}
    if not runner.module.check_mode and params["transfer"] != "full" and runner.is_there and runner.has_root():
        result["inventory"] = take_stock(runner)
    runner.done(True, **result)


def take_stock(runner):
    """What the host has; where that cannot be said, it is sent everything, unless only the thin artifact is wanted."""
    if runner.module.params["transfer"] == "thin":
        return runner.run(["store", "inventory"])
    try:
        return runner.attempt(["store", "inventory"])
    except Failed:
        return None


def make(runner, artifact):
    params = runner.module.params
    words = ["deploy", artifact, "--stage", "--reuse", "--python", params["python"]]
    words += ["--without-pip"] if params["without_pip"] else []
    words += ["--allowed-signers", params["allowed_signers"]] if params["allowed_signers"] else []
    if runner.module.check_mode:
        plan = runner.run(words + ["--dry-run"])
        diff = difference(runner.root, {"staged": None}, {"staged": plan["id"]})
        runner.done(True, id=None, is_new=True, is_live=False, due=[], diff=diff)
    staged = runner.change(words)
    diff = difference(runner.root, {"staged": None}, {"staged": staged["id"]})
    due = look(runner, staged["id"])
    runner.done(True, id=staged["id"], is_new=staged["is_new"], is_live=False, due=due, diff=diff)


def take(runner, found):
    is_live = found["id"] == found["live"]
    due = [] if is_live or runner.module.check_mode else look(runner, found["id"])
    runner.done(False, id=found["id"], is_new=False, is_live=is_live, due=due)


def look(runner, release):
    if not runner.module.params["check"]:
        return []
    return runner.change(["check", release])["due"]


def remove(runner):
    release = runner.module.params["release"]
    if not (runner.is_there and runner.has_root()):
        runner.done(False, id=release)
    listed = [one["id"] for one in runner.run(["list"])]
    found = [name for name in listed if release in (name, name.split("-")[0])]
    if not found:
        runner.done(False, id=release)
    diff = difference(runner.root, {found[0]: "there"}, {})
    words = ["remove", found[0]]
    if runner.module.check_mode:
        runner.run(words + ["--dry-run"])
    else:
        runner.change(words)
    runner.done(True, id=found[0], diff=diff)


if __name__ == "__main__":
    main()
