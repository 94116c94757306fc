"""The period of a source, by Lomb and Scargle: tables in, numbers out, no file and no database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.types import Floats, UnusableInput

if TYPE_CHECKING:
    from astropy.table import Table

#: Fewer epochs than these fit any period.
LEAST_EPOCHS = 6
_MOST_FREQUENCIES = 2_000_000


@attrs.frozen(eq=False)
class Periodogram:
    """The power of one source at each frequency, and its highest peak."""

    frequency: Floats  # (k,) 1/d
    power: Floats  # (k,) 0 to 1
    period: float  # d, of the highest peak
    peak: float  # its power
    false_alarm: float  # probability that noise alone has such a peak anywhere
    amplitude: float  # of the sine, relative to the mean flux
    epochs: int

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the peak."""
        return {name: getattr(self, name) for name in ("period", "peak", "false_alarm", "amplitude", "epochs")}


def relative_fluxes(curve: Table, source: str) -> tuple[Floats, Floats, Floats]:
    """Return times (d), fluxes relative to the mean of their instrument and band, and errors, of the usable epochs.

    A colour that changes with the phase makes the amplitude a mean over bands; the period stays what it is. Times are
    barycentric where all epochs have them, else mid-exposures in UTC.
    """
    flux, error = (np.array(curve[f"{source}_{name}"], float) for name in ("flux", "d_flux"))  # copies
    groups = np.array([f"{i}\n{b}" for i, b in zip(curve["instrument"], curve["band"], strict=True)])
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    for group in set(groups[good]):
        of_it = good & (groups == group)
        mean = np.average(flux[of_it], weights=error[of_it] ** -2.0)
        if mean > 0 and of_it.sum() > 1:  # of a single epoch nothing is left
            flux[of_it], error[of_it] = flux[of_it] / mean, error[of_it] / mean
        else:
            good[of_it] = False
    barycentric = np.asarray(curve["bjd_tdb"], float)[good]
    time = barycentric if np.isfinite(barycentric).all() else np.asarray(curve["mjd"], float)[good]
    return time, flux[good], error[good]


def periodogram(curve: Table, source: str, shortest: float, longest: float, oversampling: float = 10.0) -> Periodogram:
    """Return the periodogram of a source between two periods.

    Parameters
    ----------
    curve : Table
        A light curve as lcframework writes it.
    source : str
        The source's name.
    shortest, longest : float
        Periods, d; no longer one is looked for than the light curve lasts.
    oversampling : float
        Frequencies a peak's width.

    Raises
    ------
    UnusableInput
        For too few epochs, or more frequencies than make sense.
    """
    from astropy.timeseries import LombScargle

    time, flux, error = relative_fluxes(curve, source)
    if len(time) < LEAST_EPOCHS:
        raise UnusableInput(f"{source}: {len(time)} usable epochs are too few for a period; {LEAST_EPOCHS} are needed")
    baseline = float(np.ptp(time))
    low, high = 1.0 / min(longest, baseline), 1.0 / shortest
    if not low < high:
        raise UnusableInput(f"{source}: {baseline:.3g} d of light curve hold no period from {shortest:g} d on")
    count = int(np.ceil((high - low) * baseline * oversampling)) + 1
    if count > _MOST_FREQUENCIES:
        raise UnusableInput(f"{source}: {count} frequencies; raise shortest, or lower oversampling, in [periodogram]")
    search = LombScargle(time, flux, error)
    frequency = np.linspace(low, high, max(count, 2))
    power = np.asarray(search.power(frequency), float)
    # The peak lies between two frequencies of the grid: look there again.
    around = frequency[np.argmax(power)] + np.linspace(-1.0, 1.0, 201) * (frequency[1] - frequency[0])
    around = around[(around >= low) & (around <= high)]
    heights = np.asarray(search.power(around, method="slow"), float)
    best, peak = float(around[np.argmax(heights)]), float(heights.max())
    chance = search.false_alarm_probability(peak, method="baluev", minimum_frequency=low, maximum_frequency=high)
    _, sine, cosine = search.model_parameters(best)
    return Periodogram(frequency, power, 1.0 / best, peak, float(chance), float(np.hypot(sine, cosine)), len(time))


def phases(time: Floats, period: float, epoch: float) -> Floats:
    """Return the phase of each time, from 0 to 1; 0 at `epoch`."""
    return np.asarray((np.asarray(time, float) - epoch) / period % 1.0)
