"""Clients of a live server: strain images, the control channel, recent RF frames, a status line in a terminal."""
