"""The page: one file without network or script, in which nothing that came from outside is markup."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from usert.errors import OptionError
from usert.evaluation.evaluate import EvaluatedTable, Result, evaluate
from usert.evaluation.methods import Method
from usert.evaluation.page import page
from usert.evaluation.plan import PlannedPair, PlannedTable
from usert.evaluation.report import Report, hashes, save, to_json, to_markdown, told
from usert.frame import RFFrame
from usert.machine import describe_machine
from usert.recording import write_recording

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'n'"
_VOID = {"meta", "link", "br", "img", "path", "rect", "image"}


class Reader(HTMLParser):
    """Text and attributes of a page; a tag that is not closed, or closed twice, is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> Report:
    recording = tmp_path / f"a&b<i>{HOSTILE.replace('/', '')}.h5"
    write_recording(recording, [make_frame(k, (128, 16)) for k in range(3)])
    pairs = tuple(
        PlannedPair(recording=str(recording), frames=(0, k), name=f"{HOSTILE} {k}", homogeneous="40:60,2:14")
        for k in (1, 2)
    )
    methods = [
        Method(name=name, estimate=lambda pre, post, scan: shift(pre.shape), what=lambda: HOSTILE)
        for name in (HOSTILE, "calm")
    ]
    tables = evaluate([PlannedTable(title=HOSTILE, pairs=pairs)], methods, default_window=17)
    return Report(
        tables=tables,
        methods=told(methods),
        left_out=(HOSTILE,),
        sha256=hashes(tables),
        default_window=17,
        command=f"usert eval {HOSTILE}",
        machine=describe_machine(),
        made="2026-11-26 12:00 UTC",
    )


def shift(shape: tuple[int, ...]) -> np.ndarray:
    """One percent of strain."""
    row = np.arange(shape[0], dtype=np.float32)[:, np.newaxis]
    return np.stack([np.broadcast_to(-0.01 * row, shape), np.zeros(shape)]).astype(np.float32)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_nothing_from_outside_is_markup_and_all_of_it_is_told(report: Report) -> None:
    reader = read(page(report))
    assert "script" not in reader.tags
    assert "i" not in reader.tags
    for word in (
        report.tables[0].title,
        report.methods[0].what,
        report.left_out[0],
        report.command,
        *report.sha256,
    ):
        assert word in reader.text


def test_it_loads_nothing_and_runs_nothing(report: Report) -> None:
    text = page(report)
    reader = read(text)
    loads = [
        value for name, value in reader.attributes if name in ("src", "href", "xlink:href", "srcset", "data")
    ]
    assert loads
    assert all(value is not None and value.startswith("data:image/png;base64,") for value in loads)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert not {"script", "link", "iframe", "object", "img"} & set(reader.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"(?:https?:)?//\w", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))


def test_every_method_has_strain_and_quality_of_every_pair_and_the_frame_its_windows(report: Report) -> None:
    reader = read(page(report))
    pairs, methods = 2, 2
    assert reader.tags.count("svg") == pairs * (1 + 2 * methods)
    assert reader.tags.count("figure") == pairs * (1 + methods)
    assert reader.text.count("Axial strain (%)") == pairs * methods
    windows = [value for name, value in reader.attributes if (name, value) == ("class", "h")]
    assert len(windows) == pairs


def test_the_best_is_told_by_more_than_colour(report: Report) -> None:
    assert "★" in read(page(report)).text


def test_json_has_every_figure_and_null_for_what_is_no_number(report: Report) -> None:
    bad = Result(table="T", pair="p", method="m", figures={"CNR": math.inf, "SNRe": math.nan, "NCC": 0.5})
    (table,) = report.tables
    odd = EvaluatedTable(title="T", pairs=table.pairs, results=(bad,), drawings=())
    text = to_json(
        Report(**{name: getattr(report, name) for name in Report.__slots__} | {"tables": (table, odd)})
    )
    tree = json.loads(text)
    assert (tree["kind"], tree["format"]) == ("evaluation", 1)
    assert len(tree["tables"][0]["results"]) == 4
    assert tree["tables"][0]["results"][0]["figures"].keys() >= {"CPU s", "SNRe", "NCC"}
    assert tree["tables"][1]["rows"] == [{"pair": "p", "method": "m", "CNR": None, "SNRe": None, "NCC": 0.5}]
    assert tree["recordings_sha256"] == report.sha256


def test_markdown_has_a_row_a_pair_and_method(report: Report) -> None:
    assert to_markdown(report).count("\n| ") == 1 + 4


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OptionError, match=r"report.html: "):
        save(tmp_path / "report.html", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_file_in_what_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OptionError, match=r"report.html: Not a directory"):
        save(tmp_path / "file" / "report.html", "text")
