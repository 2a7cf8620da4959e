"""Croft's render node: copy this folder to a machine with Python 3.9 or newer and a renderer."""
