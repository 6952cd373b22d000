"""The main job as one command: workers call an API over several token lifetimes."""

from evertoken.demo.plan import Gone, Plan, Unready
from evertoken.demo.run import run

__all__ = ["Gone", "Plan", "Unready", "run"]
