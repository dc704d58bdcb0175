from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prologue.check import check_world
from prologue.world import ReplyForm, WorldError, load_world

WORLD: dict[str, Any] = {
    "name": "tiny",
    "title": "A tiny world",
    "opening": "Begin.",
    "profile": [{"key": "name", "label": "Name", "default": "you"}],
}
SCRIPT: dict[str, Any] = {
    "scenes": [{"id": "one", "beats": [{"id": "hello", "lines": ["Hello."]}]}],
    "final": {"id": "end", "lines": ["Go in."]},
}


def write(
    folder: Path, world: Any = None, script: Any = None, storyteller: str = "Tell a story.\nMy name: {name}"
) -> Path:
    (folder / "world.yaml").write_text(yaml.safe_dump({**WORLD, **(world or {})}))
    (folder / "script.yaml").write_text(yaml.safe_dump({**SCRIPT, **(script or {})}))
    (folder / "storyteller.md").write_text(storyteller)
    return folder


def beat(**fields: Any) -> dict[str, Any]:
    return {"scenes": [{"id": "one", "beats": [{"id": "hello", "lines": ["Hello."], **fields}]}]}


def test_a_tiny_world_can_be_played(tmp_path: Path) -> None:
    world = load_world(write(tmp_path))
    first, state = world.script.next(world.script.begin(), False, None, {})
    last, _ = world.script.next(state, False, None, {})
    assert (first.id, last.id, last.final) == ("hello", "end", True)


@pytest.mark.parametrize("path", sorted(Path("prologue/worlds").iterdir()), ids=lambda path: path.name)
def test_the_shipped_worlds_load(path: Path) -> None:
    assert load_world(path).name == path.name


@pytest.mark.parametrize("path", sorted(Path("prologue").glob("**/*.yaml")), ids=str)
def test_shipped_files_read_alike_with_and_without_libyaml(path: Path) -> None:
    assert yaml.load(path.read_text(), Loader=yaml.SafeLoader) == yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"world": {"reply": 3}}, "`reply` must be a mapping of keys or nothing, found a whole number"),
        ({"world": {"reply": {"choices": 2}}}, "`sentences` is missing"),
        ({"world": {"reply": {"sentences": [4, 2]}}}, "`sentences` must be the least and the most"),
        ({"world": {"reply": {"sentences": [1, True]}}}, "`sentences` must be a whole number, found true or false"),
        ({"world": {"reply": {"sentences": [1, 2], "choices": 9}}}, "`choices` must be at most 6"),
        ({"world": {"reply": {"sentences": [1, 2], "choices": 1.5}}}, "`choices` must be a whole number, found"),
        ({"world": {"reply": {"sentences": [1, 2], "choice": 1}}}, "`choice` is not a key that belongs here"),
        ({"script": {"scenes": []}}, "script.yaml, line 5: `scenes` must be a list of 1 or more"),
        ({"script": {"final": None}}, "script.yaml, line 1: `final` must be a mapping of keys, found nothing"),
        ({"script": {"extra": 1}}, "script.yaml, line 1: `extra` is not a key that belongs here"),
        ({"script": beat(lines=[])}, r"line 7, one / hello: it has neither `lines` nor `ask`"),
        ({"script": beat(lines=["x" * 121])}, r"hello: its line 1 has 121 characters"),
        ({"script": beat(lines=[{"txt": "Hi"}])}, r"hello: `txt` is not a key that belongs here"),
        ({"script": beat(lines=["a", {"text": "b", "at": 9}])}, r"`at` of its line 2 must come after 0 and by 2.5"),
        ({"script": beat(lines=["{nme}"])}, r"beat hello: `\{nme\}` is not in `profile`"),
        ({"script": beat(wehn={"known": "name"})}, r"`wehn` is not a key"),
        ({"script": beat(when={"knwn": "name"})}, r"hello: `knwn` is not a key"),
        ({"script": beat(when=[])}, r"hello: `when` must be a list of 1 or more"),
        ({"script": beat(when={"known": "nme"})}, r"beat hello, when: 'nme' is not in `profile`"),
        ({"script": beat(when={"told": "hullo"})}, r"beat hello, when: there is no beat 'hullo'"),
        ({"script": beat(go="two")}, r"beat hello, go: there is no scene 'two'"),
        ({"script": beat(id="Hello there")}, r"`id` may have at most 32"),
        ({"script": beat(id="end")}, r"beat end: another beat has this id"),
        ({"script": beat(optional="yes please")}, r"`optional` must be true or false"),
        ({"script": beat(ask={"key": "shoe", "text": "Size?"})}, r"ask: `key` 'shoe' is not in `profile`"),
        ({"script": beat(ask={"key": "name", "text": "?", "free": False})}, r"`free: false` needs `choices`"),
        ({"script": beat(ask={"key": "name", "text": "?", "choices": ["a", "A"]})}, r"`choices` has one choice twice"),
        (
            {"script": beat(ask={"key": "name", "text": "?", "limit": 900})},
            r"hello / name: `limit` must be at most 200",
        ),
        ({"script": {"fillers": [{"id": "f", "ask": {"key": "name", "text": "?"}}]}}, r"a filler cannot have `ask`"),
        (
            {"script": {"final": {"id": "end", "lines": [{"text": "a", "when": {"awake": True}}]}}},
            "a line without `when`",
        ),
        ({"world": {"name": "Not A Name"}}, "world.yaml, line 1: `name` is 'Not A Name'"),
        ({"world": {"title": ""}}, "`title` is an empty text"),
        ({"world": {"profile": [{"key": "name"}]}}, "line 4, name: `label` is missing"),
        ({"world": {"profile": [dict(field) for field in WORLD["profile"] * 2]}}, "`profile` has one key twice"),
        ({"storyteller": "  "}, "storyteller.md has no instructions"),
        ({"storyteller": "My name: {name}"}, "storyteller.md has no instructions"),
        ({"world": {"examples": [{"said": "hello"}]}}, "`reply` is missing"),
        ({"world": {"examples": [{"said": "a", "reply": "b", "by": "c"}]}}, "`by` is not a key"),
        ({"storyteller": "{weather}"}, r"storyteller.md: `\{weather\}` is not in `profile`"),
    ],
)
def test_a_wrong_file_is_named_with_its_place(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(WorldError, match=said):
        load_world(write(tmp_path, **wrong))


def test_the_form_of_a_reply_may_be_said(tmp_path: Path) -> None:
    assert load_world(write(tmp_path)).reply is None
    assert load_world(write(tmp_path, world={"reply": {"sentences": [1, 4]}})).reply == ReplyForm(1, 4, 0)
    world = load_world(write(tmp_path, world={"reply": {"sentences": [2, 6], "choices": 3}}))
    assert world.reply == ReplyForm(2, 6, 3)


def test_a_missing_world_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="There is no world in"):
        load_world(tmp_path / "nowhere")
    write(tmp_path)
    (tmp_path / "script.yaml").unlink()
    with pytest.raises(WorldError, match=r"script.yaml is missing"):
        load_world(tmp_path)


def test_what_is_not_yaml_or_not_text(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "script.yaml").write_text("scenes: [\nfinal: }")
    with pytest.raises(WorldError, match=r"script.yaml, line 2: this is not YAML"):
        load_world(tmp_path)
    (tmp_path / "script.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorldError, match=r"script.yaml cannot be read"):
        load_world(tmp_path)
    (tmp_path / "script.yaml").write_text("- just\n- a list")
    with pytest.raises(WorldError, match=r"script.yaml, line 1: this must be a mapping of keys, found a list"):
        load_world(tmp_path)


def test_jumps_conditions_and_visits(tmp_path: Path) -> None:
    script = {
        "scenes": [
            {
                "id": "door",
                "beats": [
                    {
                        "id": "ask",
                        "ask": {"key": "name", "text": "Who?", "choices": ["Ann", "Bo"]},
                        "go": [
                            {"when": {"is": {"name": "bo"}}, "to": "cellar"},
                            {"when": {"known": "name"}, "to": "hall"},
                        ],
                    }
                ],
            },
            {"id": "hall", "beats": [{"id": "hall_beat", "lines": ["The hall."], "go": "street"}]},
            {"id": "cellar", "beats": [{"id": "cellar_beat", "lines": ["The cellar."], "go": "door"}]},
            {
                "id": "street",
                "beats": [
                    {
                        "id": "street_beat",
                        "lines": [{"text": "Again.", "when": {"told": "cellar_beat"}, "else": "Out."}],
                    }
                ],
            },
        ],
    }
    player = load_world(write(tmp_path, script=script)).script

    def walk(name: str | None) -> list[str]:
        state, said = player.begin(), list[str]()
        profile: dict[str, str] = {}
        while True:
            told, state = player.next(state, True, None, profile)
            said.append(told.lines[0].text if told.lines else told.id)
            if told.final:
                return said
            if told.ask and name:
                profile["name"], state = player.reply(state, "name", name)

    assert walk("Ann") == ["ask", "The hall.", "Out.", "Go in."]
    assert walk("Bo") == ["ask", "The cellar.", "The hall.", "Again.", "Go in."]
    assert walk(None) == ["ask", "The hall.", "Out.", "Go in."]


def test_hostile_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "script.yaml").write_text("[" * 50_000)
    with pytest.raises(WorldError, match=r"line 1: more than 24 levels are nested here"):
        load_world(tmp_path)
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcd", "bcde", strict=True)
    )
    (tmp_path / "script.yaml").write_text(bomb)
    with pytest.raises(WorldError, match=r"line 2: `\*a` is an alias"):
        load_world(tmp_path)
    (tmp_path / "script.yaml").write_text("a: 1\na: 2")
    with pytest.raises(WorldError, match=r"line 2: `a` occurs twice"):
        load_world(tmp_path)


@pytest.mark.parametrize("name", ["world.yaml", "script.yaml", "storyteller.md"])
def test_a_file_of_a_world_is_a_file_in_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("a secret")
    folder = tmp_path / "world"
    folder.mkdir()
    write(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(WorldError, match=rf"{name} is a link that leaves its folder"):
        load_world(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(WorldError, match=rf"{name} is not a file"):
        load_world(folder)


@pytest.mark.parametrize("path", [*sorted(Path("prologue/worlds").iterdir()), Path("prologue/starter_world")], ids=str)
def test_the_shipped_worlds_say_nothing_false_of_a_visitor(path: Path) -> None:
    assert check_world(path) == []


def test_check_finds_sentences_that_nobody_gave_cause_for(tmp_path: Path) -> None:
    profile = [
        {"key": "name", "label": "Name", "default": "the stranger", "none": ["nobody"]},
        {"key": "age", "label": "Age", "default": "some age"},
    ]
    beats = [
        {"id": "ask", "ask": {"key": "name", "text": "Who?"}},
        {"id": "plain", "lines": ["So, {name}!"]},
        {"id": "known", "lines": ["Sit, {name}."], "when": {"known": "name"}},
        {"id": "asks", "ask": {"key": "age", "text": "So, {name}, how old?"}},
        {"id": "late", "lines": ["Late, {name}."], "when": {"told": "plain"}},
        {"id": "implied", "lines": ["Still, {name}."], "when": {"told": "known"}},
        {"id": "woken", "lines": ["Awake, {name}."], "when": {"awake": True}},
        {"id": "old", "lines": ["Old, {name}."], "when": {"is": {"age": "ninety"}}},
        {"id": "other", "lines": [{"text": "Alone.", "when": {"is": {"name": "nobody"}}, "else": "Well, you two."}]},
    ]
    write(tmp_path, {"profile": profile}, {"scenes": [{"id": "one", "beats": beats}]})
    found = "\n".join(check_world(tmp_path))
    assert "beat plain: 'So, {name}!' says 'the stranger' of a visitor who said nothing" in found
    told = {"asks": "So, {name}, how old?", "late": "Late, {name}.", "woken": "Awake, {name}.", "old": "Old, {name}."}
    for beat, said in told.items():
        assert f"beat {beat}: {said!r} says 'the stranger' of a visitor who said nothing" in found
    assert "'Still, {name}.' says" not in found
    assert "beat known: 'Sit, nobody.' tells of 'nobody', which means none" in found
    assert "beat other" not in found
