"""Frames: raw files, what their headers say, their reduction, and the stamps cut from them."""
