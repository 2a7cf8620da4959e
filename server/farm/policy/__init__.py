"""Where a job may run: on the house's own computers, on those that prenodes start elsewhere, or both. Pure.

Rules are data (`where.json` of the configuration), read from the top: the first that fits a job decides; one
that none fits may run on both. A rule that says `never-elsewhere` counts wherever it stands.

    rules    what a rule says, read and checked
    decide   a job, the farm and the rules, and what follows
"""

from __future__ import annotations

from server.farm.policy.decide import Decision, FarmFacts, JobFacts, decide
from server.farm.policy.rules import NO_RULES, Rule, Rules, read_rules

__all__ = ["NO_RULES", "Decision", "FarmFacts", "JobFacts", "Rule", "Rules", "decide", "read_rules"]
