"""What is served: public models, their prices and capabilities, and the route that answers for each."""

from tollway.catalog.catalog import Catalog, LocalModel, Model, Plan, Price, Route, load_catalog
from tollway.catalog.upstreams import LOCAL, Dialect, Limits, ProviderRow, Quirks, Upstream, shipped_providers

__all__ = [
    "LOCAL",
    "Catalog",
    "Dialect",
    "Limits",
    "LocalModel",
    "Model",
    "Plan",
    "Price",
    "ProviderRow",
    "Quirks",
    "Route",
    "Upstream",
    "load_catalog",
    "shipped_providers",
]
