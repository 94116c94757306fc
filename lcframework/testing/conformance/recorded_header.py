"""A FITS header that remembers which of its keywords were asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any, Self

from astropy.io import fits

#: What every FITS file has; a parser that looks through a whole header is not tested without these.
_STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", "")


class RecordedHeader(fits.Header):  # type: ignore[misc]
    """A header that records access; :attr:`asked` has the keywords, in upper case. Copies record with it."""

    def __init__(self, cards: Any = (), copy: bool = True) -> None:
        self.asked: set[str] = set()
        super().__init__(cards, copy=copy)

    def asked_and_there(self) -> list[str]:
        """Return the keywords that were asked for and that the header has, in its order."""
        return [
            key for key in dict.fromkeys(fits.Header.keys(self)) if key.upper() in self.asked and key not in _STRUCTURE
        ]

    def _remember(self, key: Any) -> None:
        keyword = key[0] if isinstance(key, tuple) else key
        if not isinstance(keyword, str):
            self._remember_all()
        elif "*" in keyword or "?" in keyword:
            self.asked |= {k for k in map(str.upper, fits.Header.keys(self)) if fnmatch.fnmatch(k, keyword.upper())}
        else:
            self.asked.add(keyword.upper().removeprefix("HIERARCH "))

    def _remember_all(self) -> None:
        self.asked |= {key.upper() for key in fits.Header.keys(self)}

    def __getitem__(self, key: Any) -> Any:
        """Return a value."""
        self._remember(key)
        return super().__getitem__(key)

    def __contains__(self, keyword: Any) -> bool:
        """Return whether a keyword is there."""
        self._remember(keyword)
        return bool(super().__contains__(keyword))

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value, or a default."""
        self._remember(key)
        return super().get(key, default)

    def count(self, keyword: Any) -> int:
        """Return how often a keyword is there."""
        self._remember(keyword)
        return int(super().count(keyword))

    def __iter__(self) -> Iterator[str]:
        """Return the keywords."""
        self._remember_all()
        return iter(super().__iter__())

    def items(self) -> Any:
        """Return keywords and values."""
        self._remember_all()
        return super().items()

    @property
    def cards(self) -> Any:
        """The cards."""
        self._remember_all()
        return super().cards

    def copy(self, strip: bool = False) -> Self:
        """Return a copy that records with this one."""
        made: Self = super().copy(strip)
        made.asked = self.asked
        return made
