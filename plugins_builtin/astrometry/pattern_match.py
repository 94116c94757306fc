"""Finds the rotation, scale, parity and shift between two lists of positions that share some stars."""

from __future__ import annotations

import itertools

import attrs
import numpy as np

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.astrometry.star_match import FEWEST_PAIRS, mutual_nearest

# Triangles are compared by the ratios of their sides, which flat and small ones do not determine well.
_RATIO_TOLERANCE = 0.01
_SMALLEST_RATIO = 0.15
_NUMBERS = (12, 20, 32)  # of the brightest positions that make triangles: more only where fewer find no map
_CANDIDATES = 12  # of the best supported maps, how many are tried on all positions
_MOST_TRIANGLES = 60_000
_CHANCE = 1e-9  # probability that a map's pairs are chance, from which on it is rejected


@attrs.frozen(eq=False)
class Similarity:
    """``a = matrix @ b + shift``, and the pairs that it brings together."""

    matrix: Floats  # (2, 2)
    shift: Floats  # (2,)
    first: Ints  # (k,) rows of a
    second: Ints  # (k,) rows of b
    by_chance: float  # pairs to be expected from unrelated lists

    def __call__(self, b: Floats) -> Floats:
        """Map positions (n, 2)."""
        return b @ self.matrix.T + self.shift

    @property
    def significant(self) -> bool:
        """Whether so many pairs can't be chance.

        The map was made from three of them, and is the best of some thousand maps: the probability that chance brings
        the others must be far below one in as many.
        """
        from scipy.stats import poisson

        return len(self.first) >= FEWEST_PAIRS and bool(poisson.sf(len(self.first) - 4, self.by_chance) < _CHANCE)


def find_similarity(
    a: Floats,
    b: Floats,
    scale: tuple[float, float],
    tolerance: float = 3.0,
    ratio_of_areas: float = 1.0,
) -> Similarity | None:
    """Match two lists by the triangles that their brightest members form.

    Parameters
    ----------
    a, b : array (n, 2), (m, 2)
        Positions, brightest first.
    scale : tuple
        Smallest and largest length in `a` of a unit of length in `b`.
    tolerance : float
        Largest distance of a pair, in the units of `a`.
    ratio_of_areas : float
        How much more of the sky `b` covers than `a`: so many more of its members are needed to find those of `a`.

    Returns
    -------
    Similarity or None
        None where no map brings more pairs together than chance does.
    """
    best: Similarity | None = None
    for number in _NUMBERS:
        count_b = min(int(np.ceil(number * max(ratio_of_areas, 1.0))), 80)
        for candidate in _candidate_maps(a[:number], b[:count_b], scale):
            trial = _verify(a, b, candidate, tolerance, scale)
            if trial is not None and (best is None or len(trial.first) > len(best.first)):
                best = trial
        if best is not None and best.significant:
            return best
        if number >= len(a) and count_b >= len(b):
            break
    return None


def _triangles(points: Floats, longest: tuple[float, float]) -> tuple[Floats, Ints, Floats]:
    """Return the side ratios (t, 2), vertices (t, 3) opposite the longest, middle, shortest side, and longest sides."""
    if len(points) < 3:
        return np.zeros((0, 2)), np.zeros((0, 3), int), np.zeros(0)
    vertices = np.array(list(itertools.combinations(range(len(points)), 3)))
    corner = points[vertices]
    sides = np.stack([np.hypot(*(corner[:, (k + 1) % 3] - corner[:, (k + 2) % 3]).T) for k in range(3)], axis=1)
    order = np.argsort(-sides, axis=1)
    sides = np.take_along_axis(sides, order, axis=1)
    ratios = sides[:, 1:] / np.maximum(sides[:, :1], 1e-12)
    # Nearly equal sides could be named either way round: such triangles are ambiguous.
    clear = (ratios[:, 1] > _SMALLEST_RATIO) & (ratios[:, 0] < 0.98) & (ratios[:, 1] < 0.98 * ratios[:, 0])
    clear &= (sides[:, 0] > longest[0]) & (sides[:, 0] < longest[1])
    return ratios[clear], np.take_along_axis(vertices, order, axis=1)[clear], sides[clear, 0]


@attrs.frozen
class _Map:
    """``a = factor * b + shift`` in complex numbers, of b's conjugates where `mirrored`."""

    factor: complex
    shift: complex
    mirrored: bool
    votes: int


def _candidate_maps(a: Floats, b: Floats, scale: tuple[float, float]) -> list[_Map]:
    """Return the maps that most pairs of similar triangles agree on."""
    first, second = _similar_triangles(a, b, scale)
    za, zb = (points @ np.array([1, 1j]) for points in (a, b))
    maps: list[_Map] = []
    for mirrored in (False, True):
        corners = np.conj(zb[second]) if mirrored else zb[second]
        factor, shift, good = _solve(za[first], corners)
        maps += _most_voted(factor[good], shift[good], za, mirrored)
    return sorted(maps, key=lambda m: -m.votes)[:_CANDIDATES]


def _similar_triangles(a: Floats, b: Floats, scale: tuple[float, float]) -> tuple[Ints, Ints]:
    """Return the corners (t, 3) in a and b of triangles of one shape whose sizes agree with the scale."""
    from scipy.spatial import cKDTree

    none = np.zeros((0, 3), int)
    extent = float(np.max(np.ptp(a, axis=0))) if len(a) else 0.0
    ratios_a, corners_a, long_a = _triangles(a, (0.05 * extent, np.inf))
    ratios_b, corners_b, long_b = _triangles(b, (0.05 * extent / scale[1], 1.5 * extent / scale[0]))
    if len(ratios_a) == 0 or len(ratios_b) == 0:
        return none, none
    if len(ratios_b) > _MOST_TRIANGLES:
        keep = np.random.default_rng(0).choice(len(ratios_b), _MOST_TRIANGLES, replace=False)
        ratios_b, corners_b, long_b = ratios_b[keep], corners_b[keep], long_b[keep]
    near = cKDTree(ratios_b).query_ball_point(ratios_a, _RATIO_TOLERANCE)
    first = np.repeat(np.arange(len(ratios_a)), [len(n) for n in near])
    if len(first) == 0:
        return none, none
    second = np.concatenate([np.asarray(n, int) for n in near])
    size = long_a[first] / long_b[second]
    fits = (size > 0.98 * scale[0]) & (size < 1.02 * scale[1])
    return corners_a[first[fits]], corners_b[second[fits]]


def _most_voted(factor: Floats, shift: Floats, za: Floats, mirrored: bool) -> list[_Map]:
    """Return the maps at the densest points of the space of maps."""
    from scipy.spatial import cKDTree

    if len(factor) == 0:
        return []
    size = np.abs(factor)
    # Where a map finds the middle of a in b, in 50ths of a's extent; the scale and the angle in 50ths too.
    middle = (za.mean() - shift) / factor * np.median(size) * 50.0 / max(np.abs(za - za.mean()).max(), 1e-9)
    angle = factor / size
    space = np.stack([middle.real, middle.imag, *(50.0 * v for v in (np.log(size), angle.real, angle.imag))], axis=1)
    tree = cKDTree(space)
    votes = tree.query_ball_point(space, 1.5, return_length=True)
    taken = np.zeros(len(space), bool)
    maps: list[_Map] = []
    for row in np.argsort(-votes, kind="stable"):
        if taken[row]:
            continue
        taken[tree.query_ball_point(space[row], 1.5)] = True
        maps.append(_Map(complex(factor[row]), complex(shift[row]), mirrored, int(votes[row])))
        if len(maps) == _CANDIDATES:
            break
    return maps


def _solve(a: Floats, b: Floats) -> tuple[Floats, Floats, Bools]:
    """Fit ``a = factor b + shift`` to triangles of complex positions.

    Returns factors, shifts, and for which triangles all three corners agree.
    """
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    da, db = a - mean_a[:, None], b - mean_b[:, None]
    factor = (da * np.conj(db)).sum(axis=1) / (np.abs(db) ** 2).sum(axis=1)
    left = np.abs(da - factor[:, None] * db).max(axis=1)
    good = left < 0.03 * np.abs(da).max(axis=1)
    return factor, mean_a - factor * mean_b, good


def _verify(a: Floats, b: Floats, candidate: _Map, tolerance: float, scale: tuple[float, float]) -> Similarity | None:
    """Return a map fitted to the pairs that it makes of all positions; None where they contradict it."""
    factor, shift = candidate.factor, candidate.shift
    matrix = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    if candidate.mirrored:
        matrix = matrix @ np.diag([1.0, -1.0])
    offset = np.array([shift.real, shift.imag])
    low, high = a.min(axis=0) - tolerance, a.max(axis=0) + tolerance
    for reach in (3.0 * tolerance, 2.0 * tolerance, tolerance, tolerance):
        mapped = b @ matrix.T + offset
        inside = np.flatnonzero(np.all((mapped > low) & (mapped < high), axis=1))[: 2 * len(a) + 20]
        i, j = mutual_nearest(a, mapped[inside], reach)
        if len(i) < FEWEST_PAIRS:
            return None
        j = inside[j]
        design = np.column_stack([b[j], np.ones(len(j))])
        solution = np.linalg.lstsq(design, a[i], rcond=None)[0]
        matrix, offset = solution[:2].T, solution[2]
    size = np.sqrt(abs(np.linalg.det(matrix)))
    singular = np.linalg.svd(matrix, compute_uv=False)
    if not (0.97 * scale[0] < size < 1.03 * scale[1]) or singular[1] < 0.9 * singular[0]:
        return None
    density = np.pi * tolerance**2 / np.prod(high - low)
    return Similarity(matrix, offset, i, j, density * len(a) * len(inside))
