"""Periodograms for lcframework: :mod:`search` computes, and the stage, the panel and the exporter use it."""
