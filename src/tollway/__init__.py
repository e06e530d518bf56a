"""Tollway: your own AI/ML API. Start reading at `completions.py`; `docs/ARCHITECTURE.md` is the map."""

__version__ = "0.1.0"
