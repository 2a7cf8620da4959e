"""Bridges that start nodes on somebody else's scheduler. Standard library only."""
