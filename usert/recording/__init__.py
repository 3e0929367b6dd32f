"""Recordings: RF frames of one geometry in an HDF5 file; `docs/files.md` is the specification."""

from .layout import HDF5_ERRORS, add_growing, one_line
from .reader import Recording
from .writer import RecordingWriter, write_recording

__all__ = ["HDF5_ERRORS", "Recording", "RecordingWriter", "add_growing", "one_line", "write_recording"]
