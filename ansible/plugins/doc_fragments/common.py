"""What the modules have in common."""


class ModuleDocFragment(object):
    DOCUMENTATION = r"""
options:
  root:
    description: The site root on the host, such as V(/srv/mysite).
    type: path
    required: true
  executable:
    description:
      - C(wheelbarrow) on the host, by its name or its path.
      - A name is searched on E(PATH) and in V(/usr/local/bin), where M(wheelbarrow.deploy.program) installs it.
    type: str
    default: wheelbarrow
notes:
  - If C(wheelbarrow) fails, the module fails with its message and with C(phase) (the phase that failed), C(outcome) (which release is live),
    C(hint) (what to do), C(exit_code), C(docs) (the address of a page that explains the exit code), and C(server_log), the last C(lines)
    that the server wrote since the switch and the command that shows C(more).
"""

    CHANGES = r"""
options:
  wait:
    description: How many seconds to wait for another command that works on the root.
    type: int
    default: 60
  deploy_id:
    description:
      - The id of the fleet's deploy, one word of up to 100 ASCII characters, the same on all hosts.
      - It is in the journal of the root (C(wheelbarrow history --json)).
    type: str
"""

    RELEASE = r"""
options:
  release:
    description: The release, by its id such as V(7-1a2b3c4d), or by its number.
    type: str
    required: true
"""
