"""Clients of a live server: its images, its control channel, recent RF frames, a status line in a terminal."""
