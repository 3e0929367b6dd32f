"""Vendor and research formats into recordings, one module a format."""
