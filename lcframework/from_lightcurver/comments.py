"""The comments that the user wrote in a YAML file, by the key that they belong to."""

from __future__ import annotations

import hashlib
from importlib import resources

import yaml


def users_comments(text: str) -> dict[str, list[str]]:
    """Return comments by top-level key: those above a key, and those beside it or its values.

    Comments of lightcurver's example configuration, which users copy, are left out; so are lines of dashes and the
    like. Comments after the value of the last key belong to the empty key.
    """
    known = example_digests()
    starts = _key_lines(text)
    found: dict[str, list[str]] = {}
    for line, comment, alone in _comments(text):
        if digest(comment) in known or not any(c.isalnum() for c in comment):
            continue
        before = [key for start, key in starts if start <= line]
        after = [key for start, key in starts if start > line]
        inside = before and not (alone and _ends_before(text, line))
        key = before[-1] if inside else (after[0] if after else "")
        found.setdefault(key, []).append(comment.strip("# \t"))
    return found


def digest(comment: str) -> str:
    """Return a digest of a comment that does not depend on spacing and case."""
    plain = " ".join(comment.strip("# \t\r").lower().split())
    return hashlib.sha256(plain.encode()).hexdigest()[:8]


def example_digests() -> frozenset[str]:
    """Return the digests of the comments in the example configuration of lightcurver 1.2."""
    text = resources.files("lcframework.from_lightcurver").joinpath("example_comments.txt").read_text(encoding="ascii")
    return frozenset(text.split())


def _key_lines(text: str) -> list[tuple[int, str]]:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(key.start_mark.line, str(key.value)) for key, _ in node.value]


def _ends_before(text: str, line: int) -> bool:
    """Return whether the line after a comment is not indented: the comment then belongs to the next key."""
    for following in text.splitlines()[line + 1 :]:
        if following.strip() and not following.lstrip().startswith("#"):
            return not following.startswith((" ", "\t", "-"))
    return True


def _comments(text: str) -> list[tuple[int, str, bool]]:
    """Return (line, comment, whether nothing else is on the line)."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            first, last = token.start_mark, token.end_mark
            for number in range(first.line, last.line + 1):
                start = first.column if number == first.line else 0
                end = last.column if number == last.line else 10**9
                spans.setdefault(number, []).append((start, end))
    out = []
    for number, line in enumerate(text.splitlines()):
        for i, character in enumerate(line):
            inside = any(a <= i < b for a, b in spans.get(number, []))
            if character == "#" and not inside and (i == 0 or line[i - 1] in " \t"):
                out.append((number, line[i:], not line[:i].strip()))
                break
    return out
