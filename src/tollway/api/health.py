"""Is it alive, is it ready, how is it doing: for supervisors, load balancers and Prometheus."""

import asyncio

import structlog
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tollway.api.responses import answer
from tollway.api.services import Services

_CHECK_SECONDS = 2.0

log = structlog.get_logger()


class Health(Struct):
    """The process answers."""

    status: str


class Readiness(Struct):
    """Whether requests can be answered, and each thing that it takes."""

    status: str
    checks: dict[str, bool]


async def healthz(request: Request, services: Services) -> Response:  # noqa: ARG001
    """The process lives. Restart it when this fails, not when it is merely unready."""
    return answer(Health("ok"))


async def readyz(request: Request, services: Services) -> Response:  # noqa: ARG001
    """200 when the database and every engine answer; else 503, naming what does not."""
    checks = await _checks(services)
    ready = all(checks.values())
    return answer(Readiness("ready" if ready else "not_ready", checks), status=200 if ready else 503)


async def metrics(request: Request, services: Services) -> Response:  # noqa: ARG001
    for name, healthy in (await _checks(services)).items():
        services.metrics.ready.labels(name).set(healthy)
    body, content_type = services.metrics.render()
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})


async def _checks(services: Services) -> dict[str, bool]:
    database, engines = await asyncio.gather(_database_answers(services), services.engine_health())
    return {"database": database} | {f"engine:{name}": healthy for name, healthy in engines.items()}


async def _database_answers(services: Services) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await services.database.ping()
    except Exception as error:  # noqa: BLE001 - whatever it is, the database does not answer
        log.warning("database_does_not_answer", error=repr(error))
        return False
    return True
