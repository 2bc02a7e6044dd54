"""Results, tables and chart."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.chart import chart
from bench.results import Results, ResultsError, load
from bench.table import tables


def some() -> Results:
    results = Results("2026-01-01 00:00 UTC", "abc1234", {"processor": "Some CPU"}, 2)
    for side, values in {"stock": [10.0, 10.0], "kept": [20.0, 20.0], "ours": [30.0, 20.0]}.items():
        results.add("publish", side, values)
    results.add("worker-death", "ours", [9.0, 16.0])
    results.add("option-publish", "ours", [100.0])
    results.add("option-publish", "tls", [80.0])
    results.unsteady["publish"] = 1
    return results


def test_results_survive_the_file(tmp_path: Path) -> None:
    file = tmp_path / "results" / "latest.json"
    some().save(file)
    assert load(file) == some()


@pytest.mark.parametrize("text", ["", "[]", '{"date": 1}', "{"])
def test_a_file_that_is_none_is_an_error_in_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "latest.json"
    file.write_text(text)
    with pytest.raises(ResultsError, match="run `make bench`"):
        load(file)


def test_a_missing_file_names_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no measured figures in .*: run `make bench`"):
        load(tmp_path / "latest.json")


def test_the_table_shows_medians_ratios_and_verdicts() -> None:
    text = tables(some())
    assert "commit abc1234, 2 rounds. Processor Some CPU." in text
    assert (
        "| publish, messages/s | 10 | 20 | 25 | 2.50x (2.00 to 3.00) | ≥ 2x | yes | 1.25x (1.00 to 1.50) | yes |"
        in text
    )
    assert "| 12.5 (9.0 to 16.0) |  | ≤ 10 + 5 | **no** |" in text
    assert "| TLS | 80 0.80x |  |" in text
    assert "changed by more than a quarter: publish 1." in text


def test_the_chart_is_a_drawing_with_its_figures() -> None:
    drawing = chart(some())
    root = ElementTree.fromstring(drawing)
    assert root.tag.endswith("svg")
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "publish" in texts
    assert "2.50x" in texts
    assert "1.25x" in texts
