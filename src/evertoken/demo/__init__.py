"""The demo: workers call an API over several token lifetimes, and the result is checked."""

from evertoken.demo.plan import Gone, Plan, Unready
from evertoken.runtime import extras

with extras.needed("evertoken.demo", "demo"):
    from evertoken.demo.run import run

__all__ = ["Gone", "Plan", "Unready", "run"]
