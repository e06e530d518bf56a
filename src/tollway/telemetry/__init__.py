"""OpenTelemetry: traces and metrics by the GenAI semantic conventions, where the setting `opentelemetry` is on.

Nothing but `app.py` imports this package, and only then: its libraries are an extra.
"""

from tollway.telemetry.telemetry import Telemetry

__all__ = ["Telemetry"]
