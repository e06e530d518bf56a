"""What is served: public models, their prices and capabilities, and the route that answers for each."""

from tollway.catalog.catalog import Catalog, LocalModel, Model, Plan, Price, Route, Unusable, load_catalog
from tollway.catalog.configuration import Configuration, ConfigurationError, load_configuration, shipped_configuration
from tollway.catalog.tables import MODEL_ID
from tollway.catalog.upstreams import HINTS, LOCAL, Dialect, Limits, ProviderRow, Quirks, Upstream, shipped_providers

__all__ = [
    "HINTS",
    "LOCAL",
    "MODEL_ID",
    "Catalog",
    "Configuration",
    "ConfigurationError",
    "Dialect",
    "Limits",
    "LocalModel",
    "Model",
    "Plan",
    "Price",
    "ProviderRow",
    "Quirks",
    "Route",
    "Unusable",
    "Upstream",
    "load_catalog",
    "load_configuration",
    "shipped_configuration",
    "shipped_providers",
]
