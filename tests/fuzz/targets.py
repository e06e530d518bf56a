"""The table of what `make fuzz` does."""

from tests.fuzz import engine, hostile_http, http_reading, parsers, site
from tests.fuzz.target import Suite, Target

TARGETS: tuple[Target, ...] = (*parsers.TARGETS, *site.TARGETS, *http_reading.TARGETS, *hostile_http.TARGETS, *engine.TARGETS)

_ENDPOINTS = "schemathesis on every endpoint: with a key, a management key, a session, and nothing"

SUITES: tuple[Suite, ...] = (
    Suite("endpoints", _ENDPOINTS, ("tests/contract/test_openapi_fuzz.py",), {"FUZZ_EXAMPLES": "60"}, "requests"),
    Suite(
        "ledger",
        "random histories of the ledger against a tiny model of it",
        ("tests/unit/admission/test_ledger_model.py",),
        {"LEDGER_STEPS": "4000"},
        "random steps",
    ),
    Suite("grammars", "any JSON as a schema, any pattern", ("tests/unit/constrain/test_fuzz.py",), {"FUZZ": "1"}),
    Suite("model-files", "model files, cut and changed", ("tests/unit/engine/test_gguf_facts.py",), {"FUZZ": "1"}),
)
