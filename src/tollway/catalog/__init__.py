"""What is served: public models, their prices and capabilities, and the route that answers for each."""

from tollway.catalog.catalog import Catalog, LocalModel, Model, Price, Route, load_catalog
from tollway.catalog.upstreams import LOCAL, Dialect, Quirks, Upstream

__all__ = ["LOCAL", "Catalog", "Dialect", "LocalModel", "Model", "Price", "Quirks", "Route", "Upstream", "load_catalog"]
