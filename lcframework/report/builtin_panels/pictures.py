"""Pictures of each region's pixels: stacks, a colour picture, and each epoch's cutout, model and residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from astropy.table import Row
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import group_name, number, read_fits
from lcframework.report.pictures import epochs as pictures
from lcframework.report.pictures.colour import colour_picture, three_bands
from lcframework.report.pictures.stacks import stacks
from lcframework.report.plots import stack_images
from lcframework.report.results import Results
from lcframework.roi.cutout_files import FitFile, PreparedEpochs
from lcframework.roi.light_curves import epochs_table

_CONTROLS = Markup(
    '<div class="controls"><label>Instrument, band <select class="group">{}</select></label>'
    '<label>Order <select class="order"><option value="time">by time</option>'
    '<option value="chi2">worst χ² first</option></select></label>'
    '<button type="button" class="previous">Previous</button><button type="button" class="next">Next</button>'
    '<label class="wide">Epoch <input class="which" type="range" min="0" max="{}" value="0"></label></div>'
)
_CANVAS = Markup(
    '<div class="scroll flat" tabindex="0" role="region" aria-label="{}"><canvas role="img" aria-label="{}"></canvas>'
    '</div><p class="scale"></p><p class="about" role="status"></p>'
)


@attrs.frozen(eq=False)
class _Group:
    """What the panel shows of an instrument and band."""

    band: str
    zeropoint: float  # mag; nan where there is none
    pictures: Markup  # JSON for the page's script
    row: stack_images.Row


@attrs.frozen
class RegionPictures:
    """Stacks of each instrument and band, and the epochs one by one."""

    results: Results
    title: str = "Pictures of the region"

    def render(self, project: Project) -> str:
        """Return the panel."""
        regions: dict[str, list[_Group]] = {}
        # Cutouts of one group at a time: all of a large campaign's would not fit into the memory.
        for roi, epochs, content in read_fits(project, self.results):
            if len(content.fit.flux):
                regions.setdefault(roi, []).append(self._group(roi, epochs, content))
        if not regions:
            return html.note("No region is modelled yet.")
        return Markup("").join(
            (Markup("<h3>{}</h3>").format(roi) if len(regions) > 1 else Markup(""))
            + _viewer(roi, groups) + _stacks(roi, groups) + _colour(roi, groups)
            for roi, groups in regions.items()
        )  # fmt: skip

    def _group(self, roi: str, epochs: PreparedEpochs, content: FitFile) -> _Group:
        name = group_name(content.instrument, content.band)
        row = stack_images.Row(
            name, len(content.fit.flux), stacks(epochs, content), content.fit.offset, tuple(content.names)
        )
        shown = html.embedded(self._pictures(roi, name, epochs, content))
        return _Group(content.band, content.zeropoint, shown, row)

    def _pictures(self, roi: str, name: str, epochs: PreparedEpochs, content: FitFile) -> dict[str, Any]:
        """Return what the page's script needs of a group: its epochs in words, and their pictures."""
        c = epochs.cutouts
        stretch = pictures.Stretch.of(c.data, c.noise, c.mask)
        strips = pictures.strips(epochs, content, stretch)
        return {
            "roi": roi, "name": name, "size": strips.shape[1], "block": pictures.BLOCK,
            "about": [self._about(row, content.names) for row in epochs_table(content)],
            "frames": [int(v) for v in content.columns["frame_id"]], "chi2": content.fit.reduced_chi2,
            "limit": pictures.LIMIT, "low": float(f"{stretch.low:.2g}"), "high": float(f"{stretch.high:.2g}"),
            "sprites": list(pictures.sprites(strips)),
        }  # fmt: skip

    def _about(self, row: Row, names: Sequence[str]) -> str:
        """Return an epoch in words; errors are those of the light curve."""
        frame = self.results.frames.get(int(row["frame_id"]))
        fluxes = ", ".join(f"{s} {number(row[f'{s}_flux'], 1)} ± {number(row[f'{s}_d_flux'], 1)}" for s in names)
        name = frame.key if frame else str(row["frame_id"])
        parts = (
            name, f"MJD {row['mjd']:.5f}", f"seeing {number(row['seeing'], 2)}″",
            f"χ² {number(row['reduced_chi2'], 2)}", f"{fluxes} e⁻/s",
        )  # fmt: skip
        return " · ".join(parts)


def _viewer(roi: str, groups: list[_Group]) -> Markup:
    """Return the view of one epoch, and the pictures that it and the light curve show."""
    data, options = Markup(""), Markup("")
    for k, group in enumerate(groups):
        data += Markup('<script type="application/json" class="epoch-pictures">{}</script>').format(group.pictures)
        options += Markup('<option value="{}">{}</option>').format(k, group.row.name)
    label = f"Cutout, model and residual of an epoch of {roi}"
    controls = _CONTROLS.format(options, groups[0].row.epochs - 1)
    caption = (
        "One epoch at a time: drag the slider or use the arrow keys on it. The address of the page then names the "
        "epoch. The light curves show the same picture where the pointer is over a point. The stretch is the same "
        "for all epochs of a band; grey pixels are masked."
    )
    view = Markup('<div class="epochs" data-roi="{}">{}{}{}</div>').format(
        roi, controls, _CANVAS.format(label, label), data
    )
    return html.captioned(view, caption)


def _stacks(roi: str, groups: list[_Group]) -> Markup:
    """Return the figure of stacks, a row a group."""
    rows = [group.row for group in groups]
    alt = (
        f"Stacks of {roi}, a row for each instrument and band ({', '.join(r.name for r in rows)}): all light; without "
        "point sources; without background"
    )
    caption = (
        "Means of all epochs, pixel by pixel: of the data, of the data less the modelled point sources, of the data "
        "less the rest of the model. What the middle picture shows at a source's place, the sources left; light in "
        "the right one that is no source, the model left. Cutouts are turned by quarters of a turn where the camera "
        "was, and not resampled."
    )
    return html.image(stack_images.draw(rows, roi), alt, caption)


def _colour(roi: str, groups: list[_Group]) -> Markup:
    """Return the colour picture; nothing where there are no three bands."""
    chosen = three_bands([(g.band, g.row.stacks) for g in groups], [g.zeropoint for g in groups])
    if chosen is None:
        return Markup("")
    image = colour_picture(chosen)
    names = ", ".join(b.band for b in chosen)
    alt = f"Colour picture of {roi}: {names} as red, green and blue"
    caption = (
        f"{names} as red, green and blue (Lupton et al. 2004), from the stacks of all light, scaled by their zero "
        "points: what has the same flux density in all three is white."
    )
    made = stack_images.draw_colour(image, chosen[0].stack, roi)
    return html.image(made, alt, caption)
