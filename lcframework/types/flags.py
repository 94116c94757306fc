"""Bits that describe what is unusual about a pixel, a frame or an epoch."""

from __future__ import annotations

import enum


class PixelFlag(enum.IntFlag):
    """Why a pixel is masked; bits of the mask extension of a frame and of the stamps' masks."""

    SATURATED = 1
    BLANK = 2
    HOT = 4
    BAD_LINE = 8
    COSMIC = 16
    NEIGHBOUR = 32
    DEFECT = 64


class FrameFlag(enum.IntFlag):
    """What is unusual about a frame that is still used; bits of ``frames.flags``."""

    FEW_SOURCES = 1
    SUN_UP = 2
    WCS_REFINED = 4
    ODD_TIME = 8
    TARGET_DOWN = 16
    DOUBTED = 32
    GAIN_MEASURED = 64


class EpochFlag(enum.IntFlag):
    """What is unusual about one epoch of a light curve; bits of the ``flags`` column."""

    FIT_NOT_CONVERGED = 1
    HIGH_CHI2 = 2
    PIXELS_CLIPPED = 4
    LOW_SIGNAL = 8
    FRAME_DOUBTED = 16
