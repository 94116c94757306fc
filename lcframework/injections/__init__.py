"""Artificial sources of known light curves in a project's own frames, measured as its targets are.

``lcf inject`` works in a scratch copy of the workdir:

- `asking`: which frames a target has, and which half of the reference stars draw, and take no part in the measuring
- `drawing_psf`: the PSF that they show, independent of the fits that measure
- `transparency`: what comes of a source's light, by its place in a frame
- `star_light`: that and the PSF of a frame, and where the sky lies in it
- `places`, `light`: where sources go, how bright they are, and which are twins of the target
- `drawing`: electrons into raw counts, before the import reduces them
- `scratch`: the copy, and the stages that are run again in it
- `injecting`: all of that in order, and what comes out beside what went in
"""
