"""Letters for reference stars: assigned once and never reused; new stars get new letters."""

from __future__ import annotations

from collections.abc import Iterable


def letter(index: int) -> str:
    """Return the name at an index, from 0, in the sequence a, b, ..., z, aa, ab, ..."""
    name = ""
    while index >= 0:
        name = chr(ord("a") + index % 26) + name
        index = index // 26 - 1
    return name


def index_of(name: str) -> int:
    """Return the index for which :func:`letter` returns this name."""
    index = 0
    for character in name:
        index = 26 * index + ord(character) - ord("a") + 1
    return index - 1


def give_names(ids_by_distance: Iterable[str], given: dict[str, str]) -> dict[str, str]:
    """Return the name of every star: stars in `given` keep their names, new stars get the next free letters."""
    names = dict(given)
    free = max(map(index_of, given.values()), default=-1) + 1
    for star in ids_by_distance:
        if star not in names:
            names[star] = letter(free)
            free += 1
    return names
