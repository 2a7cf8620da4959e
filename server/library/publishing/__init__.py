"""What is looked at before a file is published: the named checks, and which files it was made with.

Reads a scene without Blender, as it is at this moment, and asks the disk whether what it names is there.
Changes nothing.
"""

from .checks import CHECKS, SEVERITIES, Finding
from .looking import Look, Validations

__all__ = ["CHECKS", "SEVERITIES", "Finding", "Look", "Validations"]
