"""Bridges between live streams and the protocols of other programs; each runs in a process of its own."""
