"""The sky: positions, footprints, ephemerides, and what plate solutions are checked against."""
