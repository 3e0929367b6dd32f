"""Rows of figures as a Markdown table, as the benchmarks print them: `usert.evaluation.markdown` by a short name."""

from usert.evaluation.markdown import cell, markdown

__all__ = ["cell", "markdown"]
