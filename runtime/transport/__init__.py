"""Sockets at their endpoints: addresses, keys, authentication, threads that own a socket, life cycles."""
