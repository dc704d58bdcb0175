"""Sessions are kept like keys."""

from __future__ import annotations

import stat
from pathlib import Path

from client.terminal.saved_sessions import recall, remember


def test_a_session_is_kept_per_address_and_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "overture" / "sessions.json"
    assert recall("http://a", file) is None
    assert remember("http://a", "one", file)
    assert remember("http://b", "two", file)
    assert (recall("http://a", file), recall("http://b", file)) == ("one", "two")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert remember("http://a", None, file)
    assert (recall("http://a", file), recall("http://b", file)) == (None, "two")


def test_a_broken_file_remembers_nothing_and_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    file.write_text("{not json")
    assert recall("http://a", file) is None
    assert remember("http://a", "one", file)
    assert recall("http://a", file) == "one"


def test_where_nothing_can_be_kept_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not remember("http://a", "one", tmp_path / "file" / "sessions.json")
