#!/usr/bin/python
"""Puts wheelbarrow onto a host."""

DOCUMENTATION = r"""
module: program
short_description: Install wheelbarrow on a host
version_added: 0.1.0
author: The Wheelbarrow developers (@wheelbarrow)
description:
  - Copies the standalone binary of an artifact to the host, where the other modules run it. It is one static file and needs no
    Python. It has all commands on releases, and cannot build.
  - The binary is chosen by the CPU of the host, so facts must have been gathered.
options:
  src:
    description: The artifact on the controller, or a C(wheelbarrow) program.
    type: path
    required: true
  dest:
    description: The path on the host.
    type: path
    default: /usr/local/bin/wheelbarrow
  machine:
    description: The CPU of the host, such as V(x86_64). The default is the one in its facts.
    type: str
  signature:
    description:
      - With V(required), O(src) must be an artifact that one of O(signers) has signed. The controller verifies a private copy of it, and
        takes the program out of that copy.
    type: str
    choices: [optional, required]
    default: optional
  signers:
    description: The file of allowed signers, on the controller.
    type: path
    default: /etc/wheelbarrow/allowed_signers
  controller_executable:
    description: C(wheelbarrow) on the controller, which verifies the artifact.
    type: str
    default: wheelbarrow
attributes:
  check_mode:
    support: full
    description: Reports whether the program would change.
  diff_mode:
    support: full
    description: Shows the sizes, since the file is a program.
"""

EXAMPLES = r"""
- name: Install wheelbarrow
  wheelbarrow.deploy.program:
    src: dist/mysite-1.5.zip
"""

RETURN = r"""
dest:
  description: The path of the program.
  returned: success
  type: str
  sample: /usr/local/bin/wheelbarrow
checksum:
  description: The SHA-1 of the program.
  returned: success
  type: str
"""

# The action plugin of the same name does the work, on the controller.
