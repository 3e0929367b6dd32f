"""Sockets and what they need: addresses, keys, authentication, threads, life cycles, counts of faults."""
