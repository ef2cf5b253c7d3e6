"""Exit codes by name. Made from `Exit` of wheelbarrow-base."""

FAILED = 1
USAGE = 2
BROKEN = 3
UNFIT = 4
REFUSED = 5
NO_SPACE = 6
ENVIRONMENT = 7
PROJECT = 8
NETWORK = 9
DIFFERENCES = 10
UNHEALTHY = 11
PREPARE = 12
REVERTED = 13
REVERT_FAILED = 14
LOCKED = 15
IRREVERSIBLE = 16
UNSIGNED = 17
LACKING = 18
NEWER = 19
WARNINGS = 20

SITE = "https://wheelbarrow.github.io/wheelbarrow/"

# docs/reference/exit-codes.md says what each means.
