"""The promises, and the tests that show them. What is not shown is said in `missing`."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    number: int
    scenario: str
    promise: str
    tests: tuple[str, ...] = ()
    """What pytest is given."""
    full: dict[str, str] = field(default_factory=dict)
    """Environment variables that raise the counts."""
    missing: str = ""
    """What of the promise has no test."""


_CRASHES = "tests/faults/test_ledger_crashes.py"
_NODES = "tests/faults/test_nodes.py"
_FUZZ = "tests/fuzz/test_fuzz.py"
_OPENAI = "tests/contract/providers/test_openai_faults.py"
_ROUTING = "tests/unit/providers/test_routing.py"

ROWS = (
    Row(
        1,
        "`kill -9` anywhere under mixed load",
        "nothing lost, minted or doubled; every complete answer has exactly one charge; holds left open are resolved before "
        "the service is ready again, within 5 s",
        (
            f"{_CRASHES}::test_nothing_is_lost_minted_or_doubled_when_everything_dies",
            f"{_CRASHES}::test_a_stream_that_was_killed_is_not_charged_and_its_hold_is_given_back",
        ),
        {"CRASH_ROUNDS": "100"},
    ),
    Row(
        2,
        "loss of power: unsynced writes are gone",
        "no settlement that a caller was told of is lost",
        ("tests/faults/test_power_loss.py",),
        {"POWER_LOSSES": "2000"},
        "PostgreSQL, whose own log is relied on",
    ),
    Row(
        3,
        "disk full, I/O error",
        "never a 200 without its charge; no upstream call while the ledger cannot be written; recovers by itself",
        ("tests/faults/test_full_disk.py", "tests/unit/storage/test_troubles.py"),
        {"DISK_FAULTS": "1000", "DISK_ROUNDS": "20"},
    ),
    Row(
        4,
        "three nodes on PostgreSQL; a node or the database is killed, the connection is cut at COMMIT",
        "nothing lost or doubled; a commit in doubt is tried again by request id",
        (f"{_NODES}::test_nothing_is_lost_or_doubled_on_three_nodes", "tests/unit/admission/test_desk.py"),
        {"NODE_ROUNDS": "67"},
    ),
    Row(
        5,
        "1,000 parallel requests, funds for 100; one and three nodes, several worker processes",
        "exactly 100 are admitted; the balance is never below zero",
        (
            f"{_NODES}::test_three_nodes_admit_exactly_what_there_are_funds_for",
            f"{_NODES}::test_one_node_with_two_workers_admits_exactly_what_there_are_funds_for",
            f"{_CRASHES}::test_two_workers_admit_exactly_what_there_are_funds_for",
        ),
        {"FUNDS_ROUNDS": "34", "FUNDS_REQUESTS": "1000"},
    ),
    Row(
        6,
        "the ledger against a tiny model of it",
        "sum of the entries = balance, held >= 0, each hold resolves once",
        ("tests/unit/admission/test_ledger_model.py",),
        {"LEDGER_STEPS": "1000000"},
    ),
    Row(
        7,
        "books always balance",
        "a changed, lost or added row is found, and the first wrong one is named",
        ("tests/unit/ledger",),
    ),
    Row(
        8,
        "hostile usage and prices: negative, NaN, 2^63, missing, cached > prompt",
        "no negative charge, none above the hold",
        ("tests/unit/test_metering.py", "tests/unit/test_completions.py", "tests/unit/providers/test_reported_usage.py"),
        {"METERING_CASES": "50000"},
    ),
    Row(
        9,
        "the client leaves at any chunk",
        "engine slot free within 100 ms (p99), upstream closed within 250 ms (p99), one entry, charged for what was made",
        ("tests/faults/test_leaving.py", f"{_ROUTING}::test_leaving_closes_the_upstream_and_is_no_failure"),
        {"CANCELS": "600", "ENGINE_CANCELS": "400"},
    ),
    Row(
        10,
        "failed or empty answer",
        "free for the caller; the operator's cost is recorded",
        ("tests/contract/providers/test_upstream_costs.py", "tests/unit/test_completions.py"),
    ),
    Row(
        11,
        "`Idempotency-Key`",
        "one upstream call, one charge, the same answer for 24 h; 409 while in work, 422 for another body",
        ("tests/faults/test_idempotency.py", "tests/unit/admission/test_idempotency.py", "tests/unit/admission/test_desk.py"),
    ),
    Row(
        13,
        "an upstream stalls: silent, mid-stream, heartbeats only, a byte at a time",
        "an error within its limit + 1 s; limits count content, not bytes",
        (
            _OPENAI,
            "tests/contract/providers/test_gemini_failures.py",
            f"{_ROUTING}::test_a_stalling_upstream_is_an_error_within_its_limit",
        ),
    ),
    Row(
        14,
        "30 % of an upstream's calls fail, one healthy fallback",
        ">= 99.9 % answered; retries only before the first content; falling back adds <= 200 ms; SDKs raise on a broken stream",
        (
            _ROUTING,
            "tests/contract/providers/test_routing_over_http.py",
            "tests/contract/providers/test_openai_live.py::test_the_client_raises_on_a_broken_stream",
        ),
    ),
    Row(
        15,
        "500 clients that never read",
        "<= 256 KiB of memory each, others unharmed, cut after 60 s",
        (
            "tests/faults/test_unread.py",
            "tests/unit/providers/test_http.py",
            f"{_ROUTING}::test_a_slow_reader_is_not_held_against_the_upstream",
        ),
        {"UNREAD_CLIENTS": "500", "UNREAD_SECONDS": "60"},
    ),
    Row(
        16,
        "SIGTERM with live streams; engine child killed",
        "streams finish within the drain window, the rest get an error event; the engine is back within 5 s",
        (
            "tests/faults/test_stopping.py",
            "tests/faults/test_service.py",
            "tests/faults/test_engine.py",
            "tests/faults/test_reload.py",
        ),
        {"STOP_ROUNDS": "50", "STOP_STREAMS": "200"},
    ),
    Row(
        17,
        "5x overload",
        "goodput >= 90 % of peak, refusals within 50 ms (p99) with Retry-After, recovers within 10 s",
        ("tests/faults/test_overload.py",),
        {"OVERLOAD_SECONDS": "480"},
    ),
    Row(
        18,
        "soak with all of it",
        "memory drift <= 2 %, descriptors flat, books balance",
        ("tests/soak/test_soak.py",),
        {"SOAK_MINUTES": "120"},
    ),
    Row(
        19,
        "authorisation",
        "every endpoint x role x key x other tenant: no wrong 2xx; an unlisted endpoint fails the build",
        (
            "tests/unit/api/test_authorisation.py",
            "tests/unit/web/test_page_authorisation.py",
            "tests/unit/web/test_sign_in_pages.py",
            "tests/unit/api/test_endpoint_table.py",
        ),
    ),
    Row(
        20,
        "injection",
        "hostile strings in every field: no 5xx; no SQL is built from strings",
        ("tests/contract/test_openapi_fuzz.py", _FUZZ, "tests/unit/wire", "tests/unit/api/test_keys_endpoints.py"),
        {"FUZZ_EXAMPLES": "300", "FUZZ_SECONDS": "60"},
    ),
    Row(
        21,
        "bad JSON, 100,000-deep nesting, huge integers, wrong content type, oversize",
        "400 (or 408, 413, 415), never a 5xx",
        (
            "tests/contract/test_bad_input.py",
            "tests/contract/test_slow_clients.py",
            _FUZZ,
            "tests/unit/wire",
            "tests/unit/server",
        ),
    ),
    Row(
        22,
        "schema, grammar, regex and parameter bombs",
        "enforced or 400, never unconstrained output; the engine answers others meanwhile",
        ("tests/unit/constrain", "tests/contract/test_constrained.py", _FUZZ),
    ),
    Row(
        23,
        "image URLs: redirect, DNS rebinding, backslash, mapped IPv6, metadata address",
        "no request leaves to a private address",
        (
            "tests/unit/providers/test_guarded_fetch.py",
            "tests/unit/providers/test_guarded_fetch_server.py",
            "tests/unit/providers/test_images.py",
        ),
    ),
    Row(
        24,
        "hostile GGUF or chat template",
        "nothing executes; models are pinned by SHA-256",
        (
            "tests/unit/engine/test_gguf_facts.py",
            "tests/unit/engine/test_store.py",
            "tests/unit/engine/test_fetch.py",
            "tests/contract/test_templates.py",
        ),
    ),
    Row(
        25,
        "scripts as model output, key names, model names",
        "none runs; no external request; strict CSP",
        # the browser comes last: while it is open, its event loop is in the way of tests that are coroutines
        ("tests/unit/web", "tests/web/test_hostile_text.py", "tests/web/test_every_page.py", "tests/web/test_playground.py"),
    ),
    Row(
        26,
        "keys",
        "no secret in database, logs or answers; verified in <= 20 us; revoked here at once, elsewhere within 1 s",
        ("tests/faults/test_secrets.py", "tests/unit/accounts"),
    ),
    Row(
        27,
        "first set-up, sign-in, CSRF",
        "100 parallel first set-ups make exactly one owner; throttled sign-in; argon2id; no cross-site POST",
        ("tests/unit/people", "tests/unit/web/test_sign_in_pages.py", "tests/unit/web/test_page_authorisation.py"),
    ),
    Row(
        29,
        "supply chain",
        "locked, hashed dependencies; few of them",
        ("tests/unit/test_supply_chain.py", "tests/unit/test_no_secrets.py"),
    ),
    Row(
        30,
        "tests bite",
        "each bug that others have had, seeded into the code, makes a test fail",
        ("tests/faults/test_seeded_bugs.py",),
        {"SEEDED_BUGS": "all"},
    ),
)
