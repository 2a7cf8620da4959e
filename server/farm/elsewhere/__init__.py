"""Computers elsewhere: what prenodes say of those that they start on other schedulers, and are told.

bridges   the prenodes, and what waits, runs and failed over there: in memory, heard anew each time
dealing   how many computers each prenode is to start for which job, pure
"""

from __future__ import annotations

from server.farm.elsewhere.bridges import Bridges, Prenode, Run
from server.farm.elsewhere.dealing import Asked, Wanted, deal

__all__ = ["Asked", "Bridges", "Prenode", "Run", "Wanted", "deal"]
