"""Croft: asset manager and render farm whose only database is the file system."""

__version__ = "0.1.0"
