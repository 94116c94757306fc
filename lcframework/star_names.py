"""Letters for reference stars: given once, appended to, never reused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def letters() -> Iterator[str]:
    """Yield a, b, ..., z, aa, ab, ..."""
    n = 0
    while True:
        name, k = "", n
        while True:
            name = chr(ord("a") + k % 26) + name
            k = k // 26 - 1
            if k < 0:
                break
        yield name
        n += 1


def give_names(ids_by_distance: Iterable[str], given: dict[str, str]) -> dict[str, str]:
    """Return every star's name: those given stay, new stars get the letters after the last one given."""
    names = dict(given)
    taken = set(given.values())
    order = {name: i for i, name in zip(range(len(taken) * 2 + 10000), letters(), strict=False)}
    last = max((order[n] for n in taken), default=-1)
    fresh = (name for name in letters() if order[name] > last)
    for star in ids_by_distance:
        if star not in names:
            names[star] = next(fresh)
    return names


def choose(names_by_distance: list[str], wanted: int | list[str], exclude: list[str]) -> list[str]:
    """Return the stars to use: the nearest N, or those listed, without the excluded."""
    left = [n for n in names_by_distance if n not in exclude]
    return left[:wanted] if isinstance(wanted, int) else [n for n in wanted if n in left]
