"""The messages of the live server as bytes and as dataclasses, and the age of an image; no sockets."""
