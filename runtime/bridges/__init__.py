"""Bridges: live streams in the language of other programs, each a process of its own beside the server."""
