"""The farm's figures. Pure: what jobs took, by the fold's own columns.

sums     one job: what is kept of it and shown of it, and whether its columns agree
"""

from server.farm.statistics.sums import CELLS, cells, disagreements, newest, summary

__all__ = ["CELLS", "cells", "disagreements", "newest", "summary"]
