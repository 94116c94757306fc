"""Reference stars that a catalogue of variable stars knows: found by position, named, left out of the photometry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lcframework.sky import geometry
from lcframework.types.arrays import plain_floats

if TYPE_CHECKING:
    from astropy.table import Table

#: What the comment of a reference star says before its name in a catalogue of variable stars.
KNOWN_VARIABLE = "known variable: "


def known_variables(stars: Table, variables: Table, radius: float) -> list[str]:
    """Return name, type and distance of the variable star that each reference star is; an empty text for others.

    Each variable is the reference star nearest to it, at the epoch of its position, within a radius.

    Parameters
    ----------
    stars : Table
        Reference stars, of the schema `STARS`.
    variables : Table
        Variable stars, of the schema `VARIABLES`.
    radius : float
        Arcsec.
    """
    found = [""] * len(stars)
    if not len(stars):
        return found
    ra, dec, epoch = (np.asarray(stars[c], float) for c in ("ra", "dec", "ref_epoch"))
    pmra, pmdec = (np.nan_to_num(plain_floats(stars[c])) for c in ("pmra", "pmdec"))
    nearest = np.full(len(stars), np.inf)
    for variable in variables:
        then = geometry.after_years(ra, dec, pmra, pmdec, float(variable["ref_epoch"]) - epoch)
        distance = geometry.separation(*then, float(variable["ra"]), float(variable["dec"]))
        i = int(np.argmin(distance))
        if distance[i] <= min(radius, nearest[i]):
            nearest[i] = distance[i]
            kind = str(variable["type"]).strip() if "type" in variable.colnames else ""
            about = f"{kind}, " if kind and kind != "--" else ""
            found[i] = f"{variable['name']} ({about}{distance[i]:.1f} arcsec away)"
    return found


def variable_name(comment: str) -> str:
    """Return what a star's comment says of a known variable; empty where it says nothing."""
    return comment.partition(KNOWN_VARIABLE)[2].partition("; ")[0]
