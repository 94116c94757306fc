"""Pictures of each region's pixels: stacks, a colour picture, and each epoch's cutout, model and residual."""

from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import group_name, number, read_fits
from lcframework.report.pictures import epochs as pictures
from lcframework.report.pictures.colour import colour_picture, three_bands
from lcframework.report.pictures.stacks import Stacks, stacks
from lcframework.report.plots import stack_images
from lcframework.report.results import Results
from lcframework.roi.cutout_files import FitFile, PreparedEpochs

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


@attrs.frozen
class RegionPictures:
    """Stacks of each instrument and band, and the epochs one by one."""

    results: Results
    title: str = "Pictures of the region"

    def render(self, project: Project) -> str:
        """Return the panel."""
        regions: dict[str, list[tuple[PreparedEpochs, FitFile]]] = {}
        for roi, epochs, content in read_fits(project, self.results):
            if len(content.fit.flux):
                regions.setdefault(roi, []).append((epochs, content))
        if not regions:
            return html.note("No region is modelled yet.")
        return Markup("").join(
            (Markup("<h3>{}</h3>").format(roi) if len(regions) > 1 else Markup("")) + self._region(roi, groups)
            for roi, groups in regions.items()
        )

    def _region(self, roi: str, groups: list[tuple[PreparedEpochs, FitFile]]) -> Markup:
        stacked = [(content, stacks(epochs, content)) for epochs, content in groups]
        return self._viewer(roi, groups) + _stacks(roi, stacked) + _colour(roi, stacked)

    def _viewer(self, roi: str, groups: list[tuple[PreparedEpochs, FitFile]]) -> Markup:
        """Return the view of one epoch, and the pictures that it and the light curve show."""
        data, options = Markup(""), Markup("")
        for k, (epochs, content) in enumerate(groups):
            name = group_name(content.instrument, content.band)
            text = json.dumps(
                html.plain(self._pictures(roi, name, epochs, content)), separators=(",", ":"), allow_nan=False
            )
            data += Markup('<script type="application/json" class="epoch-pictures">{}</script>').format(
                Markup(text.replace("<", "\\u003c"))
            )
            options += Markup('<option value="{}">{}</option>').format(k, name)
        label = f"Cutout, model and residual of an epoch of {roi}"
        controls = _CONTROLS.format(options, len(groups[0][1].fit.flux) - 1)
        caption = (
            "One epoch at a time: drag the slider or use the arrow keys on it. The address of the page then names the "
            "epoch. The light curves show the same picture where the pointer is over a point. The stretch is the same "
            "for all epochs of a band; grey pixels are masked."
        )
        canvas = _CANVAS.format(label, label)
        view = Markup('<div class="epochs" data-roi="{}">{}{}{}</div>').format(roi, controls, canvas, data)
        return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(view, caption)

    def _pictures(self, roi: str, name: str, epochs: PreparedEpochs, content: FitFile) -> dict[str, Any]:
        """Return what the page's script needs of a group: its epochs in words, and their pictures."""
        c = epochs.cutouts
        stretch = pictures.Stretch.of(c.data, c.noise, c.mask)
        strips = pictures.strips(epochs, content, stretch)
        columns, chi2 = content.columns, content.fit.reduced_chi2
        frames = [self.results.frames.get(int(v)) for v in columns["frame_id"]]
        keys = [f.key if f else str(i) for f, i in zip(frames, columns["frame_id"], strict=True)]
        fluxes = content.fit.flux
        errors = np.sqrt(np.clip(np.diagonal(content.fit.covariance, axis1=1, axis2=2), 0, None))
        about = [
            f"{keys[i]} · MJD {columns['mjd'][i]:.5f} · seeing "
            f"{number(float(columns['seeing'][i]), 2)}″ · χ² {number(float(chi2[i]), 2)} · "
            + ", ".join(
                f"{s} {number(float(f), 1)} ± {number(float(d), 1)}"
                for s, f, d in zip(content.names, fluxes[i], errors[i], strict=True)
            )
            + " e⁻/s"
            for i in range(len(chi2))
        ]
        return {
            "roi": roi, "name": name, "size": strips.shape[1], "block": pictures.BLOCK, "about": about,
            "frames": [int(v) for v in columns["frame_id"]], "chi2": chi2, "limit": pictures.LIMIT,
            "low": float(f"{stretch.low:.2g}"), "high": float(f"{stretch.high:.2g}"),
            "sprites": list(pictures.sprites(strips)),
        }  # fmt: skip


def _stacks(roi: str, stacked: list[tuple[FitFile, Stacks]]) -> Markup:
    """Return the figure of stacks, a row a group."""
    rows = [
        stack_images.Row(group_name(c.instrument, c.band), len(c.fit.flux), s, c.fit.offset, tuple(c.names))
        for c, s in stacked
    ]
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


def _colour(roi: str, stacked: list[tuple[FitFile, Stacks]]) -> Markup:
    """Return the colour picture; nothing where there are no three bands."""
    chosen = three_bands([(c.band, s) for c, s in stacked], [c.zeropoint for c, _ in stacked])
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
