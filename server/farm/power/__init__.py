"""Shutting nodes down when there is nothing to do, and waking them when there is.

    decide   what to do now: pure
    packet   the magic packet that wakes a computer
    ledger   what was switched off and on, kept over restarts; the hours that this saved

The thread that asks and acts belongs to the farm; nothing here knows of jobs.
"""
