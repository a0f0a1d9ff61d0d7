"""What a command can end with, and the exit code that says so.

The codes are part of the interface: scripts and the Makefile rely on them.
"""

from collections.abc import Mapping
from enum import IntEnum

from shared.web_names import PROBLEM_TYPE
