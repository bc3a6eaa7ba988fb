"""The parts that verbs are made of: arguments, files, the map of the arena, progress."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncc.cli.arena import Block, draw_arena
from cnncc.cli.console import Reporter, human_bytes, print_json, print_table
from cnncc.cli.feeds import read_constants, read_feeds
from cnncc.cli.files import check_writable, replacing
from cnncc.cli.shapes import parse_shapes, parse_sizes
from cnncc.errors import InputError
from cnncc.ir import parse_type

TYPES = {"left": parse_type("f32[2]"), "a=b": parse_type("f32[3]")}


def test_feeds_by_name_and_by_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.ones(2, np.float32))
    np.save(tmp_path / "x=y.npy", np.zeros(3, np.float32))
    feeds = read_feeds([f"left={tmp_path}/two.npy", f"a=b={tmp_path}/x=y.npy"], TYPES)
    assert {name: array.shape for name, array in feeds.items()} == {"left": (2,), "a=b": (3,)}
    np.savez(tmp_path / "both.npz", **{"left": np.ones(2, np.float32), "a=b": np.ones(3, np.float32)})
    assert set(read_feeds([str(tmp_path / "both.npz")], TYPES)) == set(TYPES)
    np.savez(tmp_path / "one.npz", whatever=np.ones(2, np.float32))
    assert set(read_feeds([str(tmp_path / "one.npz")], {"left": TYPES["left"]})) == {"left"}
    assert read_feeds([f"left={tmp_path}/both.npz"], {"left": TYPES["left"]})["left"].shape == (2,)


@pytest.mark.parametrize(("given", "words"), [
    (["two.npy"], "the model has 2 inputs .* say which one"),
    (["left=two.npy"], "nothing was given for the input 'a=b'"),
    (["left=two.npy", "left=two.npy"], "only pictures make a batch"),
    (["left=both.npz"], "none named 'left'"),
    (["right=two.npy"], "no input 'right'; it has left, a=b"),
    (["lefd=two.npy"], "did you mean 'left'"),
    (["left=two.npy", "a=b=two.npy"], r"'a=b' must have the shape \[3\], but has \[2\]"),
])
def test_feeds_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("two.npy", np.ones(2, np.float32))
    np.savez("both.npz", a=np.ones(2), b=np.ones(2))
    with pytest.raises(InputError, match=words):
        read_feeds(given, TYPES)


def test_constants(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.arange(3))
    found = read_constants(["shape=2,-1", "a=b=1.5", f"c={tmp_path}/c.npy"])
    assert found["shape"] == [2, -1] and found["a=b"] == [1.5] and list(found["c"]) == [0, 1, 2]
    for wrong in ("shape", "=1", "shape=", "shape=x"):
        with pytest.raises(InputError, match="is not a constant"):
            read_constants([wrong])


def test_shapes() -> None:
    assert parse_shapes(["N=1", "image=N,3,224,224"]) == {"N": 1, "image": ("N", 3, 224, 224)}
    assert parse_shapes(["gpu_0/data=1,3"]) == {"gpu_0/data": (1, 3)}
    assert parse_shapes(["in/0=1x3x?x?", "N=1..8"]) == {"in/0": (1, 3, "in_0_d2", "in_0_d3"), "N": range(1, 9)}
    assert parse_shapes(["x=xs,?"]) == {"x": ("xs", "x_d1")}
    assert parse_sizes(None) == {}
    for wrong in ("N", "=1", "N=", "N=-1", "N=1,,2", "N=1.5"):
        with pytest.raises(InputError, match="is not a shape"):
            parse_shapes([wrong])
    with pytest.raises(InputError, match="takes one number here"):
        parse_sizes(["x=1,2"])


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as file:
        file.write(b"half of the new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]
    (tmp_path / "link").symlink_to(target)
    with replacing(tmp_path / "link") as file:
        file.write(b"newer")
    assert target.read_text() == "newer" and (tmp_path / "link").is_symlink()
    with pytest.raises(InputError, match="does not exist"):
        check_writable(tmp_path / "none" / "out")
    with pytest.raises(InputError, match="is not a file"):
        check_writable(Path(os.devnull))


def test_the_map_of_an_arena() -> None:
    blocks = [Block("x", 0, 50, 0, 1), Block("y", 50, 50, 1, 2), Block("z", 0, 25, 2, 3)]
    lines = draw_arena(blocks, 100, 4, width=16, height=4)
    assert [line.partition("|")[2] for line in lines[:4]] == ["..bbbb..", "..bbbb..", "aaaa....", "aaaacccc"]
    assert lines[0].startswith("    100 B |") and lines[-1].split() == ["step", "0", "step", "3"]
    assert draw_arena([], 0, 3) == ["(the arena is empty)"]


def test_bytes_for_people() -> None:
    assert [human_bytes(n) for n in (0, 999, 1000, 25_690_112, 999_600, 5_000_000_000)] == [
        "0 B", "999 B", "1 KB", "25.7 MB", "1 MB", "5 GB"]


def test_json_and_tables_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), float("-inf"), 1.5], "b": ("é", None)})
    assert json.loads(capsys.readouterr().out) == {"a": ["nan", "-inf", 1.5], "b": ["é", None]}
    print_table(("name", "n"), [("[red]x" * 40, 1), ("y", 20)], right=("n",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "[red]x" * 40 + "   1" and lines[2].split() == ["y", "20"]


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_progress_speaks_only_of_what_takes_long(monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    clock: Any = Clock()
    monkeypatch.setattr("cnncc.cli.console.time", clock)
    with Reporter() as reporter:
        reporter.event("quick", 0, 2)
        clock.now = 0.5
        reporter.event("quick", 2, 2)
        for done in range(4):
            reporter.event("slow", done, 3)
            clock.now += 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.splitlines() == ["slow: 1/3, 2 s", "slow: 3/3, 6 s"]
    with Reporter(quiet=True) as reporter:
        for done in range(4):
            reporter.event("slow", done, 3)
            clock.now += 2
        reporter.say("done")
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock: Any = Clock()
    monkeypatch.setattr("cnncc.cli.console.time", clock)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Reporter() as reporter:
        reporter.event("[slow]", 0, 3)
        clock.now = 2.0
        reporter.event("[slow]", 2, 3)
    captured = capsys.readouterr()
    assert captured.out == "" and "[slow]" in captured.err and "2/3" in captured.err
