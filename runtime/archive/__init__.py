"""Recordings through an engine, into files: one, many, or many over a cluster."""
