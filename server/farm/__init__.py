"""The farm wing: what gets rendered, where, and why."""
