"""Where the links of a project lead: docs/reference/format.md, "The manifest". `tree.rs` has the same rules.

A link is judged by the way that a kernel goes: through other links, and up from where these lead. Its text alone does
not show that.
"""

# Of any path (PATH_MAX in linux/limits.h, less the NUL).
LONGEST = 4095
# The links that a kernel follows on the way of one path (MAXSYMLINKS, path_resolution(7)).
MOST = 40


class BadLink(ValueError):
    """A link that leads out of the first part of its path, or nowhere at all."""


def check(tree, targets):
    """`tree` is an `exact.Tree`, `targets` has the bytes that each of its links holds, by the paths of the links."""
    walk = _Walk(tree)
    for path, place in tree.links.items():
        walk.targets[place] = _text(path, targets[path])
    for path, place in tree.links.items():
        try:
            walk.follow(place, 0)
        except BadLink as error:
            raise BadLink("%s -> %s: %s" % (path, walk.targets[place], error)) from None


def _text(path, target):
    try:
        text = target.decode("utf-8")
    except UnicodeDecodeError:
        raise BadLink("%s: the target of the link is not UTF-8" % path) from None
    if not text or len(target) > LONGEST or "\0" in text:
        raise BadLink("%s: the target of the link is empty, has a NUL in it or more than %d bytes" % (path, LONGEST))
    if text.startswith("/"):
        raise BadLink("%s -> %s: the link leads out of the project" % (path, text))
    return text


class _Walk:
    """Finds where links lead, each once. None stands for a path without a member."""

    def __init__(self, tree):
        self.top, self.targets, self.known = tree.top, {}, {}

    def follow(self, link, depth):
        """Where it leads, which may be a link again, and through how many links."""
        if link in self.known:
            return self.known[link]
        place, links = link.above, 0
        for part in self.targets[link].split("/"):
            if part in ("", "."):
                continue
            while place in self.targets:
                if depth + links >= MOST:
                    raise BadLink("the link leads through more than %d links" % MOST)
                place, more = self.follow(place, depth + 1)
                links += 1 + more
            if links > MOST:
                raise BadLink("the link leads through more than %d links" % MOST)
            place = self.step(place, part)
        self.known[link] = place, links
        return place, links

    def step(self, place, part):
        """From a file, a directory or nothing to what `part` names there."""
        is_directory = place is not None and place.below is not None
        if part != "..":
            return place.below.get(part) if is_directory else None
        if not is_directory:
            # What will be there later is not known: a link, for example.
            raise BadLink("the link has `..` behind a name that is not a directory of the project")
        if place.above is self.top:
            raise BadLink("the link leads out of the project")
        return place.above
