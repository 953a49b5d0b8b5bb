"""What runs under PM2, supervisord or Docker Compose, or lies in a folder, as tables of a fleet file.

It only reads: one module for each kind of file says what is run there, others what bot the code is and where
its token comes from, and pure ones make tables of that.
"""

from trioworkers.adopt.inspection import inspect
from trioworkers.adopt.proposal import Bot, Left, Proposal, propose
from trioworkers.adopt.service import AdoptError, Survey
from trioworkers.adopt.survey import survey
from trioworkers.adopt.tables import append, bots_text, clashes, read_fleet_text, refusals, with_bots

__all__ = [
    "AdoptError",
    "Bot",
    "Left",
    "Proposal",
    "Survey",
    "append",
    "bots_text",
    "clashes",
    "inspect",
    "propose",
    "read_fleet_text",
    "refusals",
    "survey",
    "with_bots",
]
