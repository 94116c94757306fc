"""What came of drawn sources: a row for each of them and epoch, and what these say of a light curve's errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from lcframework.roi.derived_columns import POGSON
from lcframework.roi.light_curves import fill_texts
from lcframework.storage.files import atomic
from lcframework.types import Bools, Doubt, Floats, Severity
from lcframework.types.json_values import json_value
from lcframework.types.robust import robust_scatter, scatter_about_zero

if TYPE_CHECKING:
    from astropy.table import Table

#: The folder of results in the workdir.
FOLDER = "injections"
#: Significance from which on a source is detected in an epoch.
DETECTED = 5.0
#: The level of the twins of a target.
TWIN = "twin"
#: A small relative change of a flux times this is in mmag.
MILLIMAGNITUDES = 1000 * POGSON
#: Outliers show among so many sources.
_MANY = 6
#: Numbers disagree where they do so by this many of their own errors, ...
_SURE = 4.0
#: ... and a pull by this factor, ...
_TOO_WIDE, _TOO_NARROW = 1.25, 0.75
#: ... and a flux by this much, of itself and of its error in an epoch.
_BIAS, _OF_ERROR = 0.003, 0.2
#: The relative standard error of a width about zero by the median modulus of n normal values, times sqrt(n); that of
#: their standard deviation is 0.71.
_WIDTH_ERROR = 1.17
_REMEDY = "The table and plot in injections/, and the report, have all brightnesses; `lcf inject` draws them again"


def results_path(workdir: Path, roi: str) -> Path:
    """Return the table of all drawn sources and epochs of a region."""
    return workdir / FOLDER / f"{roi}_epochs.ecsv"


def read_injected(workdir: Path, roi: str) -> Table | None:
    """Return the table of the last injections about a region; None where there is none."""
    path = results_path(workdir, roi)
    if not path.exists():
        return None
    from astropy.table import Table

    table = Table.read(path, format="ascii.ecsv")
    fill_texts(table)
    return table.filled(np.nan)


def summary_path(workdir: Path, roi: str) -> Path:
    """Return the file that says what came of the sources about a region, and of which light curve."""
    return workdir / FOLDER / f"{roi}_summary.json"


def write_summary(workdir: Path, roi: str, summary: Summary, light_curve: str) -> None:
    """Write a summary and its doubts; `light_curve` identifies the one that was tested."""
    doubts = [attrs.asdict(doubt) for doubt in injection_doubts(roi, summary)]
    content = {"light_curve": light_curve, **summary.as_json(), "doubts": doubts}
    with atomic(summary_path(workdir, roi), durable=False) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def stored_doubts(workdir: Path, roi: str) -> tuple[str, list[Doubt]]:
    """Return which light curve the last injections about a region tested, and what speaks against it.

    The table is not read, which takes longer than all else that `lcf status` looks at.
    """
    path = summary_path(workdir, roi)
    if not path.exists():
        return "", []
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["light_curve"], [Doubt(**doubt) for doubt in content["doubts"]]


@attrs.frozen
class InjectionOutcome:
    """What came of the sources of one brightness, or of one seeing.

    Attributes
    ----------
    instrument, band : str
        The group.
    level : str
        The brightness: a number from the brightest on, or ``twin`` and the source's name; or the range of seeing.
    flux, magnitude : float
        As drawn: e-/s as in the light curve, mag (of 1 e-/s, where there is no zero point, 0 mag).
    sources, epochs : int
        How many sources, and in how many epochs they were drawn.
    lost : float
        Share of the epochs without a flux: masked, or saturated in the drawing.
    complete : float
        Share of the epochs in which the source is detected with 5 sigma.
    bias, bias_error : float
        Of the fluxes, relative, and its standard error: by the scatter from source to source, and by what the held-out
        stars leave open of the transparency, which all sources have in common.
    scatter : float
        Of a source's fluxes from epoch to epoch, relative.
    stated : float
        The usual error of a flux, relative: the whole random error.
    pull, pull_error : float
        Width of (flux - truth) over the stated errors, of the epoch and of the whole curve, 1 where they are true; and
        its standard error.
    pull_fit, pull_fit_error : float
        The same over the fit's part of the error alone.
    pull_epochs, pull_epochs_error : float
        Width of a source's fluxes about their own mean, over the stated errors of the epochs, and its standard error:
        levels, which differ from place to place, have no part in it.
    """

    instrument: str
    band: str
    level: str
    flux: float
    magnitude: float
    sources: int
    epochs: int
    lost: float
    complete: float
    bias: float
    bias_error: float
    scatter: float
    stated: float
    pull: float
    pull_error: float
    pull_fit: float
    pull_fit_error: float
    pull_epochs: float
    pull_epochs_error: float

    @property
    def twin(self) -> bool:
        """Whether it is of twins of the target."""
        return self.level.startswith(TWIN)


@attrs.frozen
class Limit:
    """The flux and magnitude of 5 sigma in an epoch: by the scatter of faint drawn sources, and as errors state it."""

    frame_id: int
    mjd: float
    instrument: str
    band: str
    seeing: float
    flux: float
    magnitude: float
    stated: float
    stated_magnitude: float
    sources: int


@attrs.frozen
class Summary:
    """What came of all: by brightness, by seeing, and the limit of each epoch."""

    by_brightness: tuple[InjectionOutcome, ...]
    by_seeing: tuple[InjectionOutcome, ...]
    limits: tuple[Limit, ...]

    def of_groups(self) -> Iterator[tuple[str, str, Summary]]:
        """Yield each instrument and band, in the order of their names, and what came of their sources."""
        for group in sorted({(o.instrument, o.band) for o in self.by_brightness}):
            brightness, seeing = (
                tuple(o for o in outcomes if (o.instrument, o.band) == group)
                for outcomes in (self.by_brightness, self.by_seeing)
            )
            limits = tuple(limit for limit in self.limits if (limit.instrument, limit.band) == group)
            yield *group, Summary(brightness, seeing, limits)

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON can hold; what is not known is null."""

        def rows(values: Any) -> list[dict[str, Any]]:
            return [json_value(attrs.asdict(row)) for row in values]

        return {
            "by_brightness": rows(self.by_brightness), "by_seeing": rows(self.by_seeing), "limits": rows(self.limits)
        }  # fmt: skip


def summarise(table: Table) -> Summary:
    """Return what the rows of a table of drawn sources say."""
    columns = {name: np.asarray(table[name]) for name in table.colnames}
    zeropoints: Mapping[str, float] = table.meta.get("zeropoints", {})
    brightness: list[InjectionOutcome] = []
    seeing: list[InjectionOutcome] = []
    limits: list[Limit] = []
    groups = sorted(set(zip(columns["instrument"].tolist(), columns["band"].tolist(), strict=True)))
    for instrument, band in groups:
        every = _Rows(columns, zeropoints.get(f"{instrument} {band}", np.nan))
        own = every.where((columns["instrument"] == instrument) & (columns["band"] == band))
        for level in _levels(own):
            brightness.append(own.where(own.label == level).outcome(level))
        seeing += _by_seeing(own)
        limits += _limits(own)
    return Summary(tuple(brightness), tuple(seeing), tuple(limits))


@attrs.frozen(eq=False)
class _Rows:
    """Rows of a group, and its zero point."""

    columns: Mapping[str, Any]
    zeropoint: float

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def where(self, keep: Bools) -> _Rows:
        return _Rows({name: values[keep] for name, values in self.columns.items()}, self.zeropoint)

    @property
    def label(self) -> Any:
        """The level; of twins with the source's name."""
        level, source = self["level"], self["source"]
        return np.where(level == TWIN, np.char.add(f"{TWIN} ", source.astype(str)), level)

    @property
    def measured(self) -> Bools:
        good = np.isfinite(self["flux"]) & np.isfinite(self["d_flux"]) & (self["saturated"] == 0)
        return np.asarray(good & (np.nan_to_num(self["d_flux_fit"]) > 0))

    @property
    def pulls(self) -> Floats:
        """(flux - truth) over the stated errors of an epoch and of the whole curve, and the truth's in the frame."""
        stated = np.hypot(self["d_flux"], np.nan_to_num(self["d_flux_common"]))
        error = np.hypot(stated, self["truth"] * self.of_truth)
        return np.asarray((self["flux"] - self["truth"]) / error)

    @property
    def of_truth(self) -> Floats:
        """The relative error of a source's truth in a frame: of the transparency, and of the PSF that draws."""
        return np.asarray(np.hypot(self["truth_error"], self.columns.get("drawing_error", 0.0)))

    @property
    def pulls_of_fit(self) -> Floats:
        return np.asarray((self["flux"] - self["truth"]) / self["d_flux_fit"])

    def magnitude(self, flux: float) -> float:
        """Return a flux as a magnitude; without a zero point, 1 e-/s is 0 mag."""
        zero = self.zeropoint if np.isfinite(self.zeropoint) else 0.0
        return float(zero - 2.5 * np.log10(flux)) if flux > 0 else float("nan")

    def outcome(self, level: str) -> InjectionOutcome:
        """Return what came of these rows."""
        good = self.where(self.measured)
        relative = good["flux"] / good["truth"] - 1
        source = np.char.add(good["region"].astype(str), good["source"].astype(str))
        names = sorted(set(source.tolist()))
        means, errors, scatters, about_means = [], [], [], []
        for name in names:
            same = source == name
            stated = good["d_flux"][same] / good["truth"][same]
            weight = 1 / stated**2
            means.append(float((weight * relative[same]).sum() / weight.sum()))
            common = float(np.nan_to_num(np.median(good["d_flux_common"][same] / good["truth"][same])))
            errors.append(float(np.hypot(1 / np.sqrt(weight.sum()), common)))
            left = relative[same] - means[-1]
            if len(left) > 1:
                left *= np.sqrt(len(left) / (len(left) - 1))
                scatters.append(left)
                about_means.append(left / np.hypot(stated, good.of_truth[same]))
        drawn, flux = len(self["flux"]), float(np.median(self["truth"])) if len(self["truth"]) else np.nan
        detected = good["flux"] >= DETECTED * good["d_flux_fit"]
        pulls = good.pulls
        number = len(np.unique(np.char.add(self["region"].astype(str), self["source"].astype(str))))
        bias, error = _mean(np.array(means), np.array(errors))
        # The same stars tell the transparency of every frame: what is wrong with one in all of them does not average
        # out. It is no more than the error in the best frame.
        scale = float(np.min(good["truth_error"])) if len(pulls) else np.nan
        return InjectionOutcome(
            str(self["instrument"][0]), str(self["band"][0]), level, flux, self.magnitude(flux), number, drawn,
            1 - len(good["flux"]) / drawn, float(detected.sum()) / drawn, bias, float(np.hypot(error, scale)),
            robust_scatter(np.concatenate(scatters)) if scatters else np.nan,
            float(np.median(good["d_flux"] / good["truth"])) if len(pulls) else np.nan,
            *_width(pulls), *_width(good.pulls_of_fit),
            *_width(np.concatenate(about_means) if about_means else np.empty(0)),
        )  # fmt: skip


def _mean(values: Floats, errors: Floats) -> tuple[float, float]:
    """Return the mean of sources, outliers among many left aside, and its standard error.

    That is by their scatter, and no less than by their errors: a few may agree by chance.
    """
    if len(values) < 2:
        return (float(values[0]), float(errors[0])) if len(values) else (np.nan, np.nan)
    far = 4 * max(robust_scatter(values), float(np.median(errors)))
    kept = np.abs(values - np.median(values)) <= far if len(values) >= _MANY else np.ones(len(values), bool)
    n = int(kept.sum())
    by_noise = float(np.sqrt((errors[kept] ** 2).sum()) / n)
    by_scatter = float(np.std(values[kept], ddof=1) / np.sqrt(n)) if n > 1 else np.inf
    return float(values[kept].mean()), max(by_noise, by_scatter)


def _width(pulls: Floats) -> tuple[float, float]:
    """Return the width of pulls about zero, and its standard error."""
    if len(pulls) < 2:
        return np.nan, np.nan
    width = scatter_about_zero(pulls)
    return width, float(_WIDTH_ERROR * width / np.sqrt(len(pulls)))


def _levels(rows: _Rows) -> list[str]:
    """Return the levels in the order of brightness, twins last."""
    labels = rows.label
    flux = {level: float(np.median(rows["truth"][labels == level])) for level in set(labels.tolist())}
    return sorted(flux, key=lambda level: (level.startswith(TWIN), -flux[level]))


def _by_seeing(rows: _Rows) -> Iterator[InjectionOutcome]:
    """Yield what came of the sources in thirds of the epochs, the best seeing first."""
    singles = rows.where(rows["level"] != TWIN)
    frames, first = np.unique(singles["frame_id"], return_index=True)
    seeing = singles["seeing"][first]
    known = np.isfinite(seeing)
    frames, seeing = frames[known], seeing[known]
    parts = min(3, len(frames))
    if parts < 2:
        return
    order = np.argsort(seeing)
    for part in np.array_split(order, parts):
        own = singles.where(np.isin(singles["frame_id"], frames[part]))
        if own.measured.any():
            yield own.outcome(f"seeing {seeing[part].min():.2f} to {seeing[part].max():.2f} arcsec")


def _limits(rows: _Rows) -> Iterator[Limit]:
    """Yield the limit of each epoch, by the sources whose own photons add little to its noise."""
    singles = rows.where((rows["level"] != TWIN) & rows.measured)
    if not len(singles["flux"]):
        return
    faintest = float(np.min(singles["d_flux_fit"]))
    faint = singles.where(singles["truth"] <= max(20 * faintest, float(np.min(singles["truth"]))))
    for frame_id in np.unique(faint["frame_id"]).tolist():
        own = faint.where(faint["frame_id"] == frame_id)
        stated = DETECTED * float(np.median(own["d_flux_fit"]))
        residuals = own["flux"] - own["truth"]
        found = DETECTED * robust_scatter(residuals) if len(residuals) >= 8 else np.nan
        yield Limit(
            int(frame_id), float(own["mjd"][0]), str(own["instrument"][0]), str(own["band"][0]),
            float(own["seeing"][0]), float(found), own.magnitude(float(found)), stated, own.magnitude(stated),
            len(residuals),
        )  # fmt: skip


def injection_doubts(roi: str, summary: Summary) -> Iterator[Doubt]:
    """Yield what drawn sources say against the stated errors of a region's light curve."""
    for instrument, band, group in summary.of_groups():
        own = group.by_brightness
        what = " ".join(part for part in (roi, instrument, band) if part)
        if (found := _worst(own, what, _errors_too_small)) is not None:
            yield Doubt("injected_errors_too_small", found[1], _REMEDY, value=found[0], subject=what)
        if (found := _worst(own, what, _biased)) is not None:
            yield Doubt("injected_bias", found[1], _REMEDY, value=found[0], subject=what)
        if (found := _worst(own, what, _errors_too_large)) is not None:
            yield Doubt(
                "injected_errors_too_large", found[1], _REMEDY, severity=Severity.NOTE, value=found[0], subject=what
            )


def _worst(
    outcomes: Iterable[InjectionOutcome], what: str, judge: Callable[[InjectionOutcome], tuple[float, str]]
) -> tuple[float, str] | None:
    """Return how bad the worst level is, and a sentence; None where a judge finds none (0: it is right)."""
    found = [(verdict, o) for o in outcomes if (verdict := judge(o))[0] > 0]
    if not found:
        return None
    (value, text), worst = max(found, key=lambda item: item[0][0])
    more = f", and of {len(found) - 1} other brightnesses" if len(found) > 1 else ""
    where = f"magnitude {worst.magnitude:.1f}" + (f" ({worst.level})" if worst.twin else "")
    return value, f"{what}: of drawn sources of {where}{more}, {text}"


def _errors_too_small(o: InjectionOutcome) -> tuple[float, str]:
    pull = o.pull_epochs
    sure = pull - _SURE * o.pull_epochs_error > 1 and pull > _TOO_WIDE
    return (pull if sure else 0.0), f"fluxes scatter {pull:.2f} times as much from epoch to epoch as their errors say"


def _errors_too_large(o: InjectionOutcome) -> tuple[float, str]:
    sure = o.pull_fit + _SURE * o.pull_fit_error < 1 and o.pull_fit < _TOO_NARROW
    return (1 / o.pull_fit if sure else 0.0), f"fluxes scatter {o.pull_fit:.2f} times as much as the fit's errors say"


def _biased(o: InjectionOutcome) -> tuple[float, str]:
    sure = abs(o.bias) > _SURE * o.bias_error and abs(o.bias) > max(_BIAS, _OF_ERROR * o.stated)
    side = "too faint" if o.bias < 0 else "too bright"
    mmag = abs(o.bias) * MILLIMAGNITUDES
    text = f"fluxes are {mmag:.1f} +- {o.bias_error * MILLIMAGNITUDES:.1f} mmag {side}"
    return (abs(o.bias) if sure else 0.0), text
