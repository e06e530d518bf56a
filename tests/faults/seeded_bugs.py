"""Bugs that others have had, put into a copy of the code one at a time: each must make a test fail.

`python -m tests.faults.seeded_bugs [NAME ...]` tries them all, or some. The suite checks that every one still applies.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
SECONDS_MAX = 300
_DESK = "tests/unit/admission/test_desk.py"
_SPEND = "tests/unit/admission/test_spend.py"
_ENDPOINT = "tests/unit/api/test_chat.py"
_USE_CASE = "tests/unit/test_completions.py"
_METERING = "tests/unit/test_metering.py"
_CRASHES = "tests/faults/test_ledger_crashes.py"


@dataclass(frozen=True)
class SeededBug:
    name: str
    """What happens, and to whom it did."""
    file: str
    """Below src/tollway."""
    old: str
    new: str
    tests: str
    """A file and, after `::`, the test in it that must fail."""
    only: str = "not postgresql"
    """pytest's -k."""


BUGS = (
    SeededBug(
        "overdraft by concurrent requests: what is held is not counted (one-api#2440, new-api#6609)",
        "ledger/books.py",
        "return Balance(account_id, page.posted, page.held, page.number, page.head)",
        "return Balance(account_id, page.posted, 0, page.number, page.head)",
        f"{_DESK}::test_an_order_that_may_be_cut_gets_what_there_is",
    ),
    SeededBug(
        "overdraft of a key's own limit by concurrent requests (litellm#40095)",
        "admission/spend.py",
        'return int(row["spent"]) + int(row["held"])',
        'return int(row["spent"])',
        f"{_SPEND}::test_a_key_spends_no_more_than_its_own_limit",
    ),
    SeededBug(
        "the reservation fails open while the database is away (litellm#33923)",
        "admission/desk.py",
        "return [unavailable] * len(commands)",
        "return [\n"
        "                        Admitted(c, Hold(c.request_id, c.caller.account_id, c.caller.key_id, c.credits), {})\n"
        "                        if isinstance(c, Order)\n"
        "                        else unavailable\n"
        "                        for c in commands\n"
        "                    ]",
        f"{_DESK}::test_a_hold_whose_commit_was_not_confirmed_is_given_back",
    ),
    SeededBug(
        "the hold of a failed request is never released (new-api#4429)",
        "completions.py",
        "        self._settled = settled = await desk.finish(",
        "        if status == 'failed':\n            return\n        self._settled = settled = await desk.finish(",
        f"{_USE_CASE}::test_a_failed_answer_is_free_and_its_cost_is_the_operators",
    ),
    SeededBug(
        "the holds of a server that was killed are never released (litellm#27639)",
        "admission/nodes.py",
        "        await self._bury([path.name for path in dead])\n",
        "",
        f"{_CRASHES}::test_a_stream_that_was_killed_is_not_charged_and_its_hold_is_given_back",
    ),
    SeededBug(
        "the hold of a caller who left while being admitted is never released",
        "admission/desk.py",
        "        elif isinstance(result, Admitted):  # nobody waits for it any more\n"
        "            self._submit(Outcome(result))\n",
        "",
        f"{_DESK}::test_who_leaves_while_being_admitted_holds_nothing",
    ),
    SeededBug(
        "spend is posted after the answer, so that a restart loses it (litellm#38157)",
        "completions.py",
        "            await self._settle(desk, admitted, markup, status, last)\n",
        "            self._ready.end(last)\n            await self._settle(desk, admitted, markup, status, last)\n",
        f"{_USE_CASE}::test_an_answer_is_charged_what_it_used_before_its_end_is_seen",
    ),
    SeededBug(
        "spend is lost when its commit fails, and the answer goes out all the same (litellm#34805)",
        "completions.py",
        "        except TollwayError as error:\n            last = error\n        except Exception:\n"
        '            log.exception("settlement_failed"',
        "        except TollwayError as error:\n            pass\n        except Exception:\n"
        '            log.exception("settlement_failed"',
        f"{_USE_CASE}::test_an_answer_that_cannot_be_charged_fails",
    ),
    SeededBug(
        "a settlement is told before the disk has it",
        "admission/desk.py",
        "failure = await self._synced(loop.time() + RETRY_SECONDS_MAX)",
        "failure = None",
        "tests/faults/test_power_loss.py::test_no_acknowledged_settlement_is_lost",
    ),
    SeededBug(
        "a whole answer leaves before the disk has its charge",
        "api/chat.py",
        "    await answer.durable()\n    await _send_json(",
        "    await _send_json(",
        f"{_ENDPOINT}::test_the_end_leaves_once_the_disk_has_the_charge",
    ),
    SeededBug(
        "a stream's end leaves before the disk has its charge",
        "api/chat.py",
        "            await self._answer.durable()\n",
        "",
        f"{_ENDPOINT}::test_the_end_leaves_once_the_disk_has_the_charge",
    ),
    SeededBug(
        "an answer whose charge the disk did not take goes out all the same",
        "admission/records.py",
        "            raise failure\n",
        "            pass\n",
        f"{_ENDPOINT}::test_what_the_disk_does_not_take_fails_and_is_free",
    ),
    SeededBug(
        "a disk that has forgotten what it could not write is believed",
        "storage/wal.py",
        "            self.is_doubtful = True\n",
        "            pass\n",
        "tests/unit/storage/test_at_once.py::test_a_log_that_could_not_be_synced_is_copied_into_the_file",
    ),
    SeededBug(
        "what was settled is missing in the log of who looks at once",
        "usage/filing.py",
        "        await file_all(database)\n    return await database.read(work)",
        "        pass\n    return await database.read(work)",
        f"{_USE_CASE}::test_an_answer_is_charged_what_it_used_before_its_end_is_seen",
    ),
    SeededBug(
        "cancelled streams are free (litellm#37558, new-api#5235)",
        "completions.py",
        'free = status == "failed" or not self._received_bytes',
        'free = status != "succeeded" or not self._received_bytes',
        f"{_USE_CASE}::test_who_leaves_pays_for_what_was_made",
    ),
    SeededBug(
        "cancelled streams are charged for less than was made (litellm#36008)",
        "metering.py",
        "        prompt = estimated_prompt_tokens(request, body_bytes)\n    if",
        "        prompt = 0\n    if",
        f"{_USE_CASE}::test_who_leaves_pays_for_what_was_made",
    ),
    SeededBug(
        "the upstream goes on after its caller left (litellm#30244)",
        "completions.py",
        "        if self._parts is None and not self._settling:\n            self._interrupt()\n            return\n",
        "        if self._parts is None:\n            return\n",
        f"{_USE_CASE}::test_who_leaves_pays_for_what_was_made",
    ),
    SeededBug(
        "the upstream's failure is charged like an answer (new-api#5290)",
        "completions.py",
        'free = status == "failed" or not self._received_bytes',
        "free = not self._received_bytes",
        f"{_USE_CASE}::test_a_failed_answer_is_free_and_its_cost_is_the_operators",
    ),
    SeededBug(
        "an empty answer is charged",
        "completions.py",
        'free = status == "failed" or not self._received_bytes',
        'free = status == "failed"',
        f"{_USE_CASE}::test_an_empty_answer_is_free",
    ),
    SeededBug(
        "cached tokens are charged twice (litellm#14849)",
        "metering.py",
        "_credits(usage.prompt_tokens - cached - audio, tariff.prompt)",
        "_credits(usage.prompt_tokens, tariff.prompt)",
        f"{_USE_CASE}::test_cached_tokens_cost_their_own_price",
    ),
    SeededBug(
        "more cached tokens than there are prompt tokens make a charge negative (new-api#5005)",
        "metering.py",
        "            cached = min(cached, prompt)\n            audio = min(audio, prompt - cached)\n",
        "",
        f"{_METERING}::test_hostile_usage",
    ),
    SeededBug(
        "a negative price mints credits (eliza#22681)",
        "catalog/tables.py",
        "Amount = AmountText | Annotated[float, Meta(ge=0, lt=1_000_000)]",
        "Amount = AmountText | Annotated[float, Meta(lt=1_000_000)]",
        "tests/unit/catalog/test_configuration.py",
        "negative",
    ),
    SeededBug(
        "negative usage mints credits (octopus#243)",
        "metering.py",
        "    return max(0, min(count, TOKENS_MAX))",
        "    return min(count, TOKENS_MAX)",
        f"{_METERING}::test_hostile_usage",
    ),
    SeededBug(
        "more is charged than was held",
        "admission/batch.py",
        "        charged = min(cost, hold.credits)",
        "        charged = cost",
        f"{_DESK}::test_what_costs_more_than_was_held_is_the_operators_loss",
    ),
    SeededBug(
        "a request is refunded twice (new-api#5556)",
        "ledger/ledger.py",
        '            if _has_entry(connection, found.request_id, "refund"):\n',
        "            if False:\n",
        f"{_DESK}::test_a_charge_is_refunded_once",
    ),
    SeededBug(
        "a hold is resolved twice",
        "admission/batch.py",
        "self._open.pop(admitted.hold.request_id, None)",
        "admitted.hold",
        f"{_DESK}::test_a_hold_is_resolved_once",
    ),
    SeededBug(
        "rows are lost for an empty request id (litellm#6633)",
        "ledger/books.py",
        " or not request_id:",
        ":",
        f"{_DESK}::test_a_request_without_an_id_is_refused_and_harms_no_other",
    ),
    SeededBug(
        "an Idempotency-Key is looked up, and nothing is replayed",
        "admission/idempotency.py",
        '        answer = bytes(row["answer"])\n',
        "        return None\n",
        "tests/unit/admission/test_idempotency.py::test_the_same_idempotency_key_gets_the_same_answer",
    ),
    SeededBug(
        "a broken upstream stream becomes a normal `stop` (litellm#33404)",
        "providers/openai_stream.py",
        "        if not self.done and self._route.upstream.quirks.done_marker:\n",
        "        if False:\n",
        "tests/contract/providers/test_openai_faults.py::test_fault",
        "ends_early",
    ),
    SeededBug(
        "the authentication cache is keyed on a part of the token (litellm CVE-2026-35030)",
        "accounts/authentication.py",
        "        known = self._cache.get(digest)\n",
        "        known = next((each for each in self._cache.values() if each.caller.key_prefix == token[:12]), None)\n",
        "tests/unit/accounts/test_accounts.py::test_keys_with_the_same_prefix_are_different_keys",
    ),
    SeededBug(
        "a statement is built from the text of the key that is looked up (litellm CVE-2026-42208)",
        "accounts/authentication.py",
        "        _refuse_misspelt(token)\n        task",
        "        query = sa.text(f\"SELECT digest FROM api_keys WHERE prefix = '{token}'\")\n"
        "        found = await self._database.read(lambda connection: connection.execute(query).first())\n"
        "        digest = bytes(found.digest) if found else digest\n"
        "        task",
        "tests/unit/accounts/test_accounts.py::test_sql_in_the_place_of_a_key_proves_nobody",
    ),
    SeededBug(
        "a changed ledger row goes unnoticed",
        "ledger/verify.py",
        "        if self._head != stored:\n",
        "        if False:\n",
        "tests/unit/ledger/test_tampering.py",
    ),
    SeededBug(
        "parallel sign-ups make several first admins (Open WebUI#21631)",
        "people/people.py",
        "            used = links.use(connection, token, self._secret) if token is not None else None\n"
        "            account_id = existing or new_account(connection, _account_name(email)).id\n"
        '            if used is not None and used.purpose == "first_owner":\n'
        "                # nodes that started in the same moment printed a link each: "
        "their users take turns at the first account\n"
        "                connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account_id).with_for_update())\n"
        "                if _has_owner(connection):\n"
        "                    raise links.link_is_gone()\n",
        "            used, account_id = link, existing or new_account(connection, _account_name(email)).id\n",
        "tests/unit/web/test_sign_in_pages.py::test_a_hundred_first_owners_at_once_are_one",
    ),
    SeededBug(
        "a mapped address is fetched as if it were public (vLLM CVE-2026-24779)",
        "providers/guarded_fetch.py",
        "            return is_public(address.ipv4_mapped)\n",
        "            return True\n",
        "tests/unit/providers/test_guarded_fetch.py::test_not_public",
    ),
    SeededBug(
        "a schema that cannot be enforced is left out, and the answer is free text (llama.cpp#19051)",
        "providers/constraint.py",
        "    return _compiled(key) if len(key) <= _REMEMBERED_BYTES_MAX else _compiled.__wrapped__(key)\n",
        "    try:\n        return _compiled(key)\n    except Exception:\n        return _FREE\n",
        "tests/contract/test_constrained.py::test_what_cannot_be_enforced_is_a_400_naming_the_keyword",
    ),
    SeededBug(
        "nested parentheses exhaust the stack (llama.cpp#26600)",
        "constrain/regex_syntax.py",
        "        if depth > DEPTH_MAX:\n",
        "        if False:\n",
        "tests/unit/constrain/test_limits.py::test_bombs_are_refused_quickly",
        "nesting",
    ),
)


def apply(bug: SeededBug, source: Path) -> None:
    """Puts the bug into the copy of src. Raises ValueError unless the old text is there exactly once."""
    file = source / "tollway" / bug.file
    text = file.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.file} has the old text of `{bug.name}` {text.count(bug.old)} times")
    file.write_text(text.replace(bug.old, bug.new), encoding="utf-8")


def outcome(bug: SeededBug) -> str:
    """`caught`, or what else came of it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        apply(bug, copy)
        environment = os.environ | {"PYTHONPATH": f"{copy}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "--timeout=120",
            "-p",
            "no:cacheprovider",
            "-k",
            bug.only,
            bug.tests,
        ]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAX
            )
        except subprocess.TimeoutExpired:
            return f"no result within {SECONDS_MAX} s"
    if done.returncode == 1:
        return "caught"
    # pytest-timeout ends the process where a test hangs
    if "Timeout" in done.stdout + done.stderr and done.returncode != 0:
        return "caught"
    return "not caught" if done.returncode == 0 else f"no result: {done.stdout[-1500:]}{done.stderr[-500:]}"


def main() -> int:
    wanted = [bug for bug in BUGS if not sys.argv[1:] or any(word in bug.name for word in sys.argv[1:])]
    results = {bug.name: outcome(bug) for bug in wanted}
    for name, result in results.items():
        print(f"{result:10} {name}")
    return int(any(result != "caught" for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
