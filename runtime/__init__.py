"""Runtime: wire messages, engines, the live server and its clients. Needs no torch."""
