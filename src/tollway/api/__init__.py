"""HTTP endpoints: one table feeds routing, OpenAPI and the docs pages."""
