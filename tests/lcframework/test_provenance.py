"""Fingerprints: stable across processes, sensitive to contents, and words for what changed."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

from lcframework.provenance import (
    Option,
    Shared,
    canonical,
    changes,
    complete,
    counted,
    counted_elsewhere,
    describe,
    digest,
    file_digest,
    fingerprint,
    plain,
)


@attrs.frozen
class Inner:
    x: float = 1.5


@attrs.frozen
class Options:
    number: float = np.inf
    path: Path | None = None
    inner: Inner = attrs.field(factory=Inner)
    pair: tuple[float, float] = (0.0, np.nan)
    many: dict[str, Path] = attrs.field(factory=dict)


def test_digest_is_a_known_number():
    # What is written into databases: another value would make every product out of date.
    expected = hashlib.sha256(b'{"a":"x","b":[1,2.5,null]}').hexdigest()
    assert digest({"b": [1, 2.5, None], "a": "x"}, 64) == expected
    assert expected.startswith("ce74053d7a99")
    assert digest({"a": "x", "b": [1, 2.5, None]}, 12) == digest({"b": [1, 2.5, None], "a": "x"}, 12)


def test_digest_is_the_same_in_another_process():
    code = "from lcframework.provenance import digest; print(digest({'s': sorted({'a', 'b', 'c'}), 'x': 0.1}))"
    values = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, text=True,
            capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert values == {digest({"s": ["a", "b", "c"], "x": 0.1}) + "\n"}


def test_digest_tells_apart():
    assert len({digest(v) for v in (1, 1.5, "1", [1], {"1": 1}, None, True, "ab", ["a", "b"], ["ab"])}) == 10


def test_contents_count_not_names(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    assert file_digest(one) == file_digest(two)
    assert file_digest(tmp_path / "none") == "absent"
    assert file_digest(tmp_path) == "absent"
    before = digest(plain(Options(path=one)))
    one.write_text("other")
    assert digest(plain(Options(path=one))) != before


def test_moved_file_of_one_name_is_the_same(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "stars.ecsv").write_text("x")
    first, second = (describe(Options(path=tmp_path / f / "stars.ecsv")) for f in ("a", "b"))
    assert first == second


def test_describe_is_json():
    import json

    values = plain(Options())
    assert json.loads(json.dumps(values, allow_nan=False)) == values  # PostgreSQL takes no nan or inf in JSON
    assert values == {"number": "inf", "path": None, "inner": {"x": 1.5}, "pair": [0.0, "nan"], "many": {}}
    assert canonical({"b": 1, "a": 2}) == '{"a":2,"b":1}'


def test_options_at_their_defaults_do_not_count():
    default, other = describe(Options()), describe(Options(number=2.0, inner=Inner(3.0)))
    assert counted({"psf": default, "token": "t"}) == {"psf": {}, "token": "t"}
    assert counted({"psf": other}) == {"psf": {"number": 2.0, "inner": {"x": 3.0}}}
    assert complete({"psf": default})["psf"] == plain(Options())
    assert counted(counted_elsewhere(other, "number")) == {"inner": {"x": 3.0}}
    assert complete(counted_elsewhere(other, "number")) == plain(Options(number=2.0, inner=Inner(3.0)))


def test_an_option_without_a_default_always_counts():
    @attrs.frozen
    class Needed:
        path: str
        places: list[str] = attrs.field()

        @places.default
        def _own(self):
            return [self.path]

    assert counted(describe(Needed("x"))) == {"path": "x", "places": ["x"]}


def test_changes_of_options_name_the_default_that_was():
    before = counted({"psf": describe(Options())})
    assert changes(before, {"psf": describe(Options(number=2.0))}) == ['psf.number: "inf" -> 2.0']
    back = counted({"psf": describe(Options(number=2.0))})
    assert changes(back, {"psf": describe(Options())}) == ['psf.number: 2.0 -> "inf"']
    assert changes(complete({"psf": describe(Options())}), {"psf": describe(Options())}) == []
    assert changes({}, {"x": Option(1, 1)}) == []


def test_changes():
    old = {"psf": {"starred": {"iterations": 100, "x": 1}, "stars": 10}, "gone": 1, "list": [1, 2]}
    new = {"psf": {"starred": {"iterations": 50, "x": 1}, "stars": 10}, "here": 1, "list": [1, 3]}
    assert changes(old, new) == [
        "gone is gone",
        "here is new",
        "list: [1,2] -> [1,3]",
        "psf.starred.iterations: 100 -> 50",
    ]
    assert changes(old, old) == []
    long = changes({"a": "x" * 100}, {"a": "y"})[0]
    assert len(long) < 80
    assert long.endswith('... -> "y"')


def test_stored_components_are_compared_as_they_are_stored():
    before = json.loads(canonical({"places": [("A", [1.0, 2.0])], "size": 24}))
    assert changes(before, {"places": [("A", [1.0, 2.0])], "size": 32}) == ["size: 24 -> 32"]


def test_a_fingerprint_is_the_digest_of_what_counts():
    shared = Shared({"b": Option(1, 1), "a": Option(1, 2), "c": {"x": Option(0.0, 0), "y": [1, None]}, "d": True})
    components = {"stage": "s", "é": Option("x", "y"), "same": Option([1], [1]), "z": shared, "n": {"q": Option(1, 1)}}
    assert fingerprint(components) == digest(counted(components))
    assert fingerprint({**components, "z": dict(shared)}) == fingerprint(components)
    assert fingerprint({**components, "z": Shared({**shared, "a": 2})}) == fingerprint(
        {**components, "z": {**shared, "a": 2}}
    )
    assert complete(shared) == {"b": 1, "a": 1, "c": {"x": 0.0, "y": [1, None]}, "d": True}
    again = pickle.loads(pickle.dumps(shared))
    assert (again, again.text) == (shared, shared.text)
    with pytest.raises(TypeError, match="can't be changed"):
        shared["a"] = 2
    with pytest.raises(TypeError, match="can't be changed"):
        shared.pop("a")


def test_a_default_of_another_type_counts_as_its_json_does():
    assert counted({"a": Option(1, 1.0), "b": Option(1, True), "c": Option("1", 1)}) == {"a": 1, "b": 1, "c": "1"}


def test_a_file_at_its_default_place_counts_by_its_contents_wherever_the_command_is_given(tmp_path, monkeypatch):
    @attrs.frozen
    class Reader:
        path: Path = Path("stars.ecsv")

    monkeypatch.chdir(tmp_path)  # where the default path, taken by itself, is this very file
    file = tmp_path / "stars.ecsv"
    found = []
    for text in ("1", "2"):
        file.write_text(text)
        found.append(fingerprint(describe(Reader(file))))
    assert found[0] != found[1]
    monkeypatch.chdir(tmp_path.parent)
    assert fingerprint(describe(Reader(file))) == found[1]
