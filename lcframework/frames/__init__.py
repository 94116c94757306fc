"""Frames: raw files, their headers, their reduction, and the stamps cut from them."""
