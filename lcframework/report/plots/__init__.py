"""Diagnostic plots in ``workdir/plots/``: each has a pure function from values to a figure, and a small loader.

:func:`lcframework.report.plots.drawing.draw` draws them; :data:`lcframework.report.plots.jobs.KINDS` names their kinds.
"""
