"""Strain of recordings: pairs, folders of recordings, result files, pictures, videos, DICOM."""
