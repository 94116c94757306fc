"""The operators that turn and blur the deconvolved image for each epoch, a few epochs at a time.

They take half a megabyte an epoch, much more than its data. Those of the first epochs are kept, as many as a bound of
memory allows; the others are made again each time, which takes about as long as their use.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from lcframework.types import Floats, Ints
from plugins_builtin.engine.roi.blur import Blur, Turns
from plugins_builtin.engine.roi.geometry import Epochs
from plugins_builtin.engine.roi.interpolation import Alignment

_CHUNK = 16  # epochs turned and blurred together
_KEPT = 64 * 2**20  # bytes


class Operators:
    """Rotations and convolutions of the epochs that have data, in chunks.

    Parameters
    ----------
    epochs : Epochs
        With their kernels.
    alignment : Alignment
        With their rotations.
    used : (e,) array
        Indices of the epochs that have data.
    """

    def __init__(self, epochs: Epochs, alignment: Alignment, used: Int[Ints, " e"]) -> None:
        self.used = used
        self._kernels: Float[Floats, "e m m"] = epochs.kernels
        self._alignment = alignment
        self._kept: dict[int, tuple[Turns, Blur]] = {}
        self._left = _KEPT
        self._last: tuple[int, tuple[Turns, Blur]] | None = None

    def chunks(self) -> Iterator[tuple[slice, Int[Ints, " chosen"]]]:
        """Yield the used epochs a few at a time: their rows among the used ones, and their indices."""
        for start in range(0, len(self.used), _CHUNK):
            rows = slice(start, start + _CHUNK)
            yield rows, self.used[rows]

    def of(self, rows: slice) -> tuple[Turns, Blur]:
        """Return the operators of a chunk."""
        return self._of(rows.start // _CHUNK)

    def of_epoch(self, e: int) -> tuple[Turns, Blur, int]:
        """Return the operators of an epoch's chunk, and the epoch's place in it."""
        row = int(np.searchsorted(self.used, e))
        return *self._of(row // _CHUNK), row % _CHUNK

    def _of(self, chunk: int) -> tuple[Turns, Blur]:
        if (kept := self._kept.get(chunk)) is not None:
            return kept
        if self._last is not None and self._last[0] == chunk:
            return self._last[1]
        a, chosen = self._alignment, self.used[chunk * _CHUNK : (chunk + 1) * _CHUNK]
        made = (Turns(a.size, a.alpha[chosen]), Blur(self._kernels[chosen], a.size, a.subsampling))
        size = sum(operator.nbytes for operator in made)
        if size <= self._left:
            self._kept[chunk] = made
            self._left -= size
        else:
            self._last = chunk, made
        return made
