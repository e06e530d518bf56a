"""llama.cpp in a supervised child process; model files fetched, verified and described."""

from tollway.engine.endpoint import EngineEndpoint, load_vocabulary
from tollway.engine.errors import EngineError
from tollway.engine.fetch import ensure_pulled, known_models
from tollway.engine.memory import plan_context
from tollway.engine.store import ModelStore
from tollway.engine.supervisor import Supervisor, served_models

__all__ = [
    "EngineEndpoint",
    "EngineError",
    "ModelStore",
    "Supervisor",
    "ensure_pulled",
    "known_models",
    "load_vocabulary",
    "plan_context",
    "served_models",
]
