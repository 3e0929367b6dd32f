"""Recordings: RF frames of one geometry in an HDF5 file; `docs/files.md` is the specification."""

from .reader import Recording
from .writer import RecordingWriter, write_recording

__all__ = ["Recording", "RecordingWriter", "write_recording"]
