"""Who is better: means, spread, ties and what is no number."""

from __future__ import annotations

import math

import pytest

from usert.evaluation.evaluate import Result
from usert.evaluation.figures import TRUE_SR
from usert.evaluation.markdown import markdown
from usert.evaluation.summary import averaged, best_of, summary


def results(**values: dict[str, list[float]]) -> list[Result]:
    """`results(SNRe={"a": [1, 2], "b": [3, 4]})`: a figure by method and pair."""
    methods = list(next(iter(values.values())))
    count = len(next(iter(values.values()))[methods[0]])
    return [
        Result(table="T", pair=f"p{k}", method=m, figures={name: values[name][m][k] for name in values})
        for k in range(count)
        for m in methods
    ]


def test_mean_spread_and_the_pairs_on_which_a_method_is_best() -> None:
    found = summary(results(SNRe={"a": [1.0, 5.0, 9.0], "b": [2.0, 4.0, 5.0]}))["SNRe"]
    assert found["a"].mean == 5
    assert found["a"].deviation == pytest.approx(math.sqrt(32 / 3))
    assert (found["a"].best, found["a"].best_on, found["a"].pairs) == (True, 2, 3)
    assert (found["b"].best, found["b"].best_on) == (False, 1)


def test_low_errors_are_better_and_high_correlation_is() -> None:
    assert best_of("axial RMSE (samples)", {"a": 0.1, "b": 0.2}) == {"a"}
    assert best_of("NCC", {"a": 0.1, "b": 0.2}) == {"b"}


def test_values_that_print_alike_are_equally_good() -> None:
    assert best_of("NCC", {"a": 0.98901, "b": 0.98899, "c": 0.987}) == {"a", "b"}


def test_a_strain_ratio_is_better_nearer_to_the_true_one_and_without_it_none_is() -> None:
    assert best_of("SR", {"a": 0.40, "b": 0.52}, 0.45) == {"a"}
    assert best_of("SR", {"a": 0.40, "b": 0.52}) == set()
    found = summary(
        results(SR={"a": [0.4, 0.5], "b": [0.9, 0.45]}, **{TRUE_SR: {"a": [0.45] * 2, "b": [0.45] * 2}})
    )
    assert [found["SR"][m].best_on for m in "ab"] == [1, 1]
    assert found["SR"]["a"].best
    assert not any(spread.best for spread in found[TRUE_SR].values())


def test_no_number_is_never_best_and_one_method_alone_is_not_compared() -> None:
    assert best_of("CNR", {"a": math.nan, "b": 1.0}) == {"b"}
    assert best_of("CNR", {"a": math.nan, "b": math.nan}) == set()
    assert best_of("CNR", {"a": 2.0}) == set()


def test_a_figure_of_some_pairs_only_is_over_those() -> None:
    some = results(NCC={"a": [0.5, 0.7], "b": [0.6, 0.4]})
    extra = [
        Result(table="T", pair="p9", method=m, figures={"NCC": 0.9, "CNR": c})
        for m, c in (("a", 3.0), ("b", 4.0))
    ]
    found = summary(some + extra)
    assert {m: spread.pairs for m, spread in found["CNR"].items()} == {"a": 1, "b": 1}
    assert found["CNR"]["b"].best
    assert found["NCC"]["a"].pairs == 3


def test_pairs_of_one_name_are_one_row() -> None:
    seeds = [Result(table="T", pair="1 %", method="a", figures={"NCC": value}) for value in (0.25, 0.75)]
    rows = averaged(seeds)
    assert rows == [{"pair": "1 %", "method": "a", "NCC": 0.5}]
    assert markdown(rows) == "| pair | method | NCC |\n|---|---|---|\n| 1 % | a | 0.5 |"


def test_pairs_of_one_name_may_have_different_figures() -> None:
    figures = ({"NCC": 0.25}, {"NCC": 0.75, "CNR": 3.0})
    for order in (figures, figures[::-1]):
        (row,) = averaged([Result(table="T", pair="p", method="a", figures=some) for some in order])
        assert row == {"pair": "p", "method": "a", "NCC": 0.5, "CNR": 3.0}
