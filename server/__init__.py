"""Croft: asset manager and render farm whose only database is the file system."""
