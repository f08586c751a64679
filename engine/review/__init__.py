"""The web page where people judge images: server, static export, and the decisions they leave.

Decisions themselves, and what follows from them, are in `engine.core.reviews` and
`engine.store.reviews`, so that QA and export can use them.
"""

from engine.review.board import Board
from engine.review.decisions import Merged, ReviewLog, merge
from engine.review.export import Exported, export_static, notebook_html
from engine.review.server import open_board, serve

__all__ = [
    "Board",
    "Exported",
    "Merged",
    "ReviewLog",
    "export_static",
    "merge",
    "notebook_html",
    "open_board",
    "serve",
]
