"""Images of each region's joint model."""

from __future__ import annotations

import attrs
import numpy as np
from markupsafe import Markup

from lcframework.project import Project
from lcframework.report import html
from lcframework.report.builtin_panels.shared import group_name, number, read_fits
from lcframework.report.plots import roi_model
from lcframework.report.results import Results


@attrs.frozen
class RoiModels:
    """Data, model and residuals of the best, median and worst epochs, and the high-resolution images."""

    results: Results
    title: str = "The model of the region"

    def render(self, project: Project) -> str:
        """Return the panel."""
        out = Markup("")
        for roi, epochs, content in read_fits(project, self.results):
            name = f"{roi}   {group_name(content.instrument, content.band)}"
            chi2 = content.fit.reduced_chi2
            alt = (
                f"{name}: data, model and residuals in units of the noise for the epochs of least, median and greatest "
                f"reduced chi-squared ({number(float(np.nanmin(chi2)), 2)}, {number(float(np.nanmedian(chi2)), 2)}, "
                f"{number(float(np.nanmax(chi2)), 2)}), and the high-resolution model with and without point sources"
            )
            masked = content.fit.outliers.reshape(len(chi2), -1).sum(axis=1)
            caption = (
                f"{len(chi2)} epochs; the fit {content.fit.status.state.value} after "
                f"{content.fit.status.evaluations} evaluations; {int(masked.sum())} pixels were masked for their "
                f"residuals in {int((masked > 0).sum())} epochs. Grey pixels are masked."
            )
            out += html.image(roi_model.draw(epochs, content, name), alt, caption)
        return out or html.note("No region is modelled yet.")
