"""Metrics and health of a live server, served by HTTP."""
