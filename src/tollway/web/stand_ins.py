"""Which models are answered by another one, for the pages that name models."""

from tollway.catalog import Catalog


def stand_ins(catalog: Catalog) -> dict[str, str]:
    """The ids of the models that have no upstream at present -> the id of what answers in their place."""
    routes = [plan.routes[0] for plan in catalog.plans if plan.routes]
    return {route.model.id: route.answers_as for route in routes if route.stand_in}
