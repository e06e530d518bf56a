import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import race

from tollway.accounts import keys

SECRET = b"s" * 32
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_has_the_documented_shape() -> None:
    made = {keys.make_key() for _ in range(200)}
    assert len(made) == 200
    for key in made:
        assert re.fullmatch(r"tw_[0-9A-Za-z]{36}", key)
        assert len(key) == keys.KEY_LENGTH
        assert keys.looks_like_key(key)
        assert keys.checksum_fits(key)
        assert keys.prefix_of(key) == key[:12]


def test_the_checksum_of_a_known_key_stays() -> None:
    """Keys outlive releases: changing the checksum would refuse all of them."""
    assert keys.checksum_fits("tw_" + "0" * 30 + "48tEgW")
    assert keys._checksum("tw_" + "0" * 30) == "48tEgW"


@given(position=st.integers(3, 38), letter=st.sampled_from(ALPHABET))
def test_every_wrong_letter_is_noticed(position: int, letter: str) -> None:
    key = keys.make_key()
    misspelt = key[:position] + letter + key[position + 1 :]
    assert keys.checksum_fits(misspelt) == (misspelt == key)


@given(position=st.integers(3, 37))
def test_every_swap_of_neighbours_is_noticed(position: int) -> None:
    key = keys.make_key()
    swapped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
    assert keys.checksum_fits(swapped) == (swapped == key)


@pytest.mark.parametrize(
    "text", ["", "tw_", "sk-" + "a" * 36, "tw_" + "a" * 35, "tw_" + "a" * 37, "tw_" + "é" * 36, "tw_" + "a" * 36 + "\n"]
)
def test_other_text_is_no_key(text: str) -> None:
    assert not keys.looks_like_key(text)


def test_the_digest_depends_on_the_whole_key_and_on_the_secret() -> None:
    key = keys.make_key()
    digest = keys.digest_of(key, SECRET)
    assert len(digest) == 32
    assert digest == keys.digest_of(key, SECRET)
    assert digest != keys.digest_of(key, b"t" * 32)
    assert digest != keys.digest_of(key[:-1] + ("a" if key[-1] != "a" else "b"), SECRET)


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old_mask = os.umask(0)
    try:
        secret = keys.load_secret(home)
    finally:
        os.umask(old_mask)
    assert len(secret) == 32
    assert keys.load_secret(home) == secret
    assert stat.S_IMODE(keys.secret_path(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [file.name for file in home.iterdir()] == ["secret.key"], "drafts stay behind"


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff\xfe", b"00" * 31])
def test_a_damaged_secret_is_said(tmp_path: Path, content: bytes) -> None:
    keys.secret_path(tmp_path).write_bytes(content)
    with pytest.raises(ValueError, match=r"secret\.key is damaged"):
        keys.load_secret(tmp_path)


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    assert len(set(race(8, keys.load_secret, tmp_path / "home"))) == 1
