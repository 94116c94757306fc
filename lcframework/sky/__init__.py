"""The sky: positions, footprints, ephemerides, and the checks of plate solutions."""
