"""Computers elsewhere: what prenodes say of those that they start on other schedulers, and are told.

bridges   the prenodes, and what waits, runs and failed over there: in memory, heard anew each time
dealing   how many computers each prenode is to start for which job, pure
ledger    how long they worked, for a limit of hours a day
"""

from __future__ import annotations

from server.farm.elsewhere.bridges import Bridges, Prenode, Run
from server.farm.elsewhere.dealing import Asked, Wanted, deal
from server.farm.elsewhere.ledger import Ledger, midnight

__all__ = ["Asked", "Bridges", "Ledger", "Prenode", "Run", "Wanted", "deal", "midnight"]
