"""A few mutated inputs of each kind: each succeeds or is refused in words. Thousands are benchmarks/fuzzing.py's."""

from __future__ import annotations

import logging

import programs
import pytest

fuzzing = programs.benchmark("fuzzing")


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    logging.disable(logging.CRITICAL)
    yield fuzzing.Fuzzer(tmp_path_factory.mktemp("fuzz"), 1)
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("kind", "inputs"), [("project", 30), ("header", 12), ("catalogue", 40)])
def test_every_input_ends_well(fuzzer, kind, inputs, monkeypatch):
    monkeypatch.delenv("LCF_TRUST")
    tally = fuzzing.fuzz(fuzzer, kind, inputs, seconds=60.0)
    assert tally.failures == {}
    assert tally.counts["success"] >= 1
    assert tally.counts["refused"] >= 3


def test_a_seed_makes_the_same_inputs(fuzzer):
    for kind in fuzzing.KINDS:
        assert fuzzer.input(kind, 3) == fuzzer.input(kind, 3)
        assert fuzzer.input(kind, 3) != fuzzer.input(kind, 4)


def test_failures_are_found(fuzzer, monkeypatch):
    def hang(path):
        while True:
            pass

    def fail(path):
        raise ZeroDivisionError

    monkeypatch.setattr(fuzzer, "_project", hang)
    monkeypatch.setattr(fuzzer, "_catalogue", fail)
    assert fuzzing.fuzz(fuzzer, "project", 1, seconds=0.2).counts == {"hung": 1}
    tally = fuzzing.fuzz(fuzzer, "catalogue", 2, seconds=10.0)
    assert tally.counts == {"failed": 2}
    ((cause, (first, count, _)),) = tally.failures.items()
    assert (cause.split()[0], first, count) == ("ZeroDivisionError", 0, 2)
