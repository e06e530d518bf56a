"""What is served: public models, their prices and capabilities, and the route that answers for each."""

from tollway.catalog.catalog import Catalog, LocalModel, Model, Price, Route, load_catalog

__all__ = ["Catalog", "LocalModel", "Model", "Price", "Route", "load_catalog"]
