"""No secret is in the repository."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATTERNS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    "AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "Google": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "GitHub": r"\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})\b",
    "GitLab": r"\bglpat-[0-9A-Za-z_-]{20}\b",
    "Hugging Face": r"\bhf_[A-Za-z]{34}\b",
    "OpenAI and those like it": r"\bsk-(?!fake|test)(?:[a-z]+-)*[0-9A-Za-z_]{20,}\b",
    "Groq": r"\bgsk_[0-9A-Za-z]{40,}\b",
    "Slack": r"\bxox[abprs]-[0-9A-Za-z-]{10,}\b",
    "Stripe": r"\b[rs]k_live_[0-9A-Za-z]{20,}\b",
    "PyPI": r"\bpypi-[0-9A-Za-z_-]{50,}\b",
    "npm": r"\bnpm_[0-9A-Za-z]{36}\b",
    "webhook": r"\bwhsec_[0-9A-Za-z+/]{32,}={0,2}",
    "password in a URL": r"\b[a-z+]+://[A-Za-z0-9_.-]+:(?!PASSWORD\b|\*\*\*|secret\b|\$)[^@\s:/\"'`{}<>$]{12,}@",
    "Tollway": r"\btw_[0-9A-Za-z]{36}\b",
}
EXPECTED = {
    ("openapi.json", "Tollway"): "the example of the documentation",
    ("src/tollway/api/examples.py", "Tollway"): "the example of the documentation",
    ("tests/faults/older/", "Tollway"): "of databases that were made for the tests",
    ("tests/unit/catalog/test_configuration.py", "OpenAI and those like it"): "must not be shown, which is what is tested",
    ("tests/unit/test_settings.py", "password in a URL"): "must not be shown, which is what is tested",
}
"""Folders or files and the kind of what is in them that looks like a secret and is none; with the reason."""


def tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    yield from (ROOT / name.decode() for name in listed.split(b"\0") if name)


def secrets_in(text: str) -> set[tuple[str, str]]:
    """(kind, what)"""
    return {(kind, found[0]) for kind, pattern in PATTERNS.items() for found in re.finditer(pattern, text)}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: nobody knows which files are tracked")
def test_no_tracked_file_holds_one() -> None:
    found = []
    for path in tracked():
        name = str(path.relative_to(ROOT))
        if not path.is_file() or path == Path(__file__):
            continue
        for kind, text in secrets_in(path.read_text(encoding="utf-8", errors="ignore")):
            if not any(name.startswith(place) and kind == expected for place, expected in EXPECTED):
                found.append((name, kind, text[:12] + "..."))
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "AIza" + "0" * 35,
        "ghp_" + "a1" * 18,
        "sk-proj-" + "a1" * 20,
        "tw_" + "a1" * 18,
        "-----BEGIN RSA PRIVATE KEY-----\n" + "MII" * 20,
        "postgresql://tollway:" + "correcthorsebattery" + "@db/tollway",
    ],
)
def test_one_would_be_found(text: str) -> None:
    assert len(secrets_in(f"key = '{text}'")) == 1
