"""Blender is told to run this file alone: it makes the folder around it known, then begins the loop."""

import importlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
importlib.import_module("inside.loop").main()
