"""Letters for reference stars: assigned once and never reused; new stars get new letters."""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import Session, select

from lcframework.storage.tables import CombinedFootprint, Star


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


def given_names(session: Session, field: CombinedFootprint) -> dict[str, str]:
    """Return the assigned letters by identifier: those of the field, and those of earlier fields of its regions.

    A new frame may change the polygon that all frames cover, and so the field; stars must keep their letters. Where
    earlier fields of several regions disagree, the letters of this field come first, then those of active fields.
    """
    rois = set(field.rois)
    related = [f for f in session.exec(select(CombinedFootprint)) if rois & set(f.rois) and f.hash != field.hash]
    names: dict[str, str] = {}
    for hash_ in (field.hash, *(f.hash for f in sorted(related, key=lambda f: (not f.active, f.hash)))):
        taken = set(names.values())
        stars = session.exec(select(Star).where(Star.combined_footprint_hash == hash_))
        names |= {s.gaia_id: s.name for s in stars if s.gaia_id not in names and s.name not in taken}
    return names
