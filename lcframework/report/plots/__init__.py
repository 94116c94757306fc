"""Diagnostic plots in ``workdir/plots/``: each a pure function from values to a figure, beside a thin loader.

:func:`lcframework.report.plots.drawing.draw` draws them; :data:`lcframework.report.plots.jobs.KINDS` names their kinds.
"""
