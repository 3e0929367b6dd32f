"""Evaluation of methods on recordings, with and without truth: the figures and the report of `usert eval`."""
