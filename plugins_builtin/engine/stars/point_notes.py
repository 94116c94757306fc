"""What is unusual about the measurement of a point source, in the words of its status."""

from __future__ import annotations

#: Reduced chi2 beyond which noise map or PSF can't be right.
_SUSPICIOUS = 2.0
#: Widths of the prior on the position beyond which a source lies elsewhere.
_FAR = 3.0


def notes_on_point(what: str, away: float, prior: float, chi2: float) -> list[str]:
    """Return what is unusual about a source.

    Parameters
    ----------
    what : str
        What was expected: ``the star``, ``it``.
    away, prior : float
        How far it lies from where it was expected, and the standard deviation of that place, pixels.
    chi2 : float
        Reduced, of its pixels.
    """
    notes = []
    if away > _FAR * prior:
        notes.append(f"the source lies {away:.1f} pixels from where {what} was expected")
    if chi2 > _SUSPICIOUS:
        notes.append(f"reduced chi2 is {chi2:.1f}: the noise map or the PSF is not right, or {what} is not a point")
    return notes
