"""Inputs that share a reason are one line."""

from lcframework.cli.unusable import by_reason


def test_a_reason_is_printed_once() -> None:
    same = [("import", f"f{i}.fits", f"f{i}.fits: every pixel is blank (level {i}.5)") for i in range(67)]
    (line,) = by_reason(same)
    assert (
        line
        == "67 inputs (f0.fits, f1.fits, f2.fits, ...; import); of the first: f0.fits: every pixel is blank (level 0.5)"
    )


def test_other_reasons_and_stages_are_lines_of_their_own() -> None:
    lines = by_reason([("import", "a", "no time"), ("import", "b", "no gain"), ("solving", "c", "no time")])
    assert lines == ["a (import): no time", "b (import): no gain", "c (solving): no time"]


def test_equal_reasons_are_not_called_those_of_the_first() -> None:
    assert by_reason([("s", "a", "no"), ("s", "b", "no")]) == ["2 inputs (a, b; s): no"]
