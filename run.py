#!/usr/bin/env python3
"""Croft's one entry point."""
