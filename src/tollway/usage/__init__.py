"""What was used: one row a request, and sums of them. Never what was said."""

from tollway.usage.prices import PriceList
from tollway.usage.queries import CHAT, LogFilter, LogRow, Scope, Sums, UsageGroup, UsageQueries, Window, time_zones
from tollway.usage.recording import BUCKET_SECONDS, RequestRecord, UsageRecorder
from tollway.usage.spending import spent_since, window_start
from tollway.wire.usage import Origin, Status

__all__ = [
    "BUCKET_SECONDS",
    "CHAT",
    "LogFilter",
    "LogRow",
    "Origin",
    "PriceList",
    "RequestRecord",
    "Scope",
    "Status",
    "Sums",
    "UsageGroup",
    "UsageQueries",
    "UsageRecorder",
    "Window",
    "spent_since",
    "time_zones",
    "window_start",
]
