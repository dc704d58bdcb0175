from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from model_build.demo import acts, chat, words
from model_build.demo.city import City, _add
from model_build.demo.corpus import (
    ANSWER,
    BESIDE,
    CHOICE,
    EOT,
    FORBIDDEN,
    PLAN,
    SPECIALS,
    Encoder,
    hash_corpus,
    make_shard,
    read_shard,
    record,
    render,
    told,
    write_corpus,
)
from model_build.demo.flavour import STREET
from model_build.demo.plan import ROOM, Plans
from model_build.demo.recipe import Recipe
from model_build.demo.retell import because, refer, theirs, you
from model_build.demo.tokens import train_tokenizer
from model_build.demo.trials import HELD_OUT, held_apart, make_trials
from model_build.demo.visitor import Intent, drill, play
from model_build.demo.walk import ASIDE_OFF, ASIDE_ON, MARK_OFF, MARK_ON, Walk, mark, plain, sentences, typeset
from prologue.prompt import compose
from prologue.world import World

SMALL = Recipe(shards=2, dialogues=12)
ASIDE = re.compile(f" ?{ASIDE_ON}(.*?){ASIDE_OFF}")


@pytest.fixture(scope="module")
def walks(city: City) -> list[Walk]:
    return [play(city, Random(f"test/{number}"), 8) for number in range(300)]


def test_a_shard_is_the_same_under_its_seed_and_another_under_another(city: City) -> None:
    assert make_shard(city, SMALL, 0) == make_shard(city, SMALL, 0)
    assert make_shard(city, SMALL, 0) != make_shard(city, SMALL, 1)
    assert make_shard(city, SMALL, 0) != make_shard(city, SMALL.but(seed=2), 0)


def test_writing_again_makes_only_what_is_missing(tmp_path: Path) -> None:
    first = write_corpus(SMALL, tmp_path)
    kept = (tmp_path / "walks-0000.jsonl").stat().st_mtime_ns
    (tmp_path / "walks-0001.jsonl").unlink()
    assert write_corpus(SMALL, tmp_path) == first == hash_corpus(tmp_path)
    assert (tmp_path / "walks-0000.jsonl").stat().st_mtime_ns == kept


def test_nothing_of_the_plays_and_films_is_in_the_sources_or_the_corpus(city: City, walks: list[Walk]) -> None:
    lists = [city.phrases, city.dealings, city.ways_to_say, STREET.lines, STREET.lists]
    written = json.dumps([*lists, *(str(place) for place in city.places.values())], ensure_ascii=False)
    assert FORBIDDEN.search("the ruby slippers") is not None
    assert FORBIDDEN.search(written) is None
    for walk in walks:
        for turn in walk.turns:
            assert FORBIDDEN.search(turn.reply) is None


def test_every_reply_is_three_to_six_sentences_and_two_choices_that_exist_there(city: City, walks: list[Walk]) -> None:
    for walk in walks:
        for turn in walk.turns:
            body, _, tail = plain(turn.reply).partition("\n\n")
            choices = tail.split("\n")
            assert 3 <= sentences(body) <= 6, turn
            assert len(set(choices)) == 2
            valid = city.choices(turn.place) | turn.choices
            assert {choice.removeprefix("> ") for choice in choices} <= valid, turn
            assert "{" not in body or "{" in turn.said


def test_the_first_line_of_a_walk_or_its_reply_tells_the_place(city: City, walks: list[Walk]) -> None:
    """A story whose beginning was cut off goes on from a line that names where it goes."""
    for walk in walks:
        first = walk.turns[0]
        if first.intent == "go":
            place = city.places[first.place]
            names = [place.to, *city.aliases["places"][first.place]]
            assert any(name.removeprefix("see ") in plain(first.reply) for name in names), first
        else:
            assert first.place == "avenue"


def test_choices_that_were_offered_can_be_taken(city: City) -> None:
    """Taking `Go to the market square.` leads to the market square, and so for every way."""
    walk = Walk(city, Random(3), {"name": "Ada"})
    walk.open()
    for _ in range(300):
        walk.offered = walk.choose()
        moves = [choice for choice in walk.offered if re.match(r"(Go to|Walk on|Head for|Make your way)", choice)]
        for choice in moves:
            assert any(city.places[way].to in choice for way in walk.here.ways)
        walk.place = walk.rng.choice(walk.here.ways)


def test_two_choices_are_of_two_kinds_in_their_order(city: City, walks: list[Walk]) -> None:
    """A deed, a talk, a way: with an order no choice can be drawn twice, and a model need not remember the first."""

    def kind(choice: str) -> int:
        if re.match(r"(Go to|Walk on|Head for|Make your way)", choice):
            return 2
        return 1 if re.match(r"(Ask|Talk to|Speak with|Greet) ", choice) else 0

    replies = [plain(turn.reply) for walk in walks for turn in walk.turns]
    assert {tuple(map(kind, re.findall("^> (.+)$", reply, re.M))) for reply in replies} == {(0, 1), (0, 2), (1, 2)}


def test_a_title_ends_no_sentence() -> None:
    assert sentences("You meet Ms. Shers. “Well?” asks Dr. Watts. You nod.") == 3


def test_a_word_of_any_kind_is_copied_but_none_of_the_evaluation_stands_whole() -> None:
    """More of the words that texts hold than a list has, made-up ones among them, and none by which a model is
    judged."""
    rng = Random(5)
    drawn = {part for _ in range(20000) for part in words.companion(rng).split()}
    assert len(drawn) > 5000
    assert {"careful", "between", "cupboard"} <= drawn
    assert not drawn & {"enormous", "admiral", "marmot", "stepfather", "sweetheart", "greyhound"}


def test_what_the_prologue_asked_appears_in_the_replies(city: City) -> None:
    profile = {"name": "Qwillon", "companion": "my ferret Ham", "reason": "to count bells", "spectacles": "Ochre"}
    said = "\n".join(plain(t.reply) for n in range(12) for t in play(city, Random(n), 8, profile).turns)
    for fact in ("Qwillon", "your ferret Ham", "to count bells", "ochre"):
        assert fact in said
    assert "my ferret Ham" not in said


def test_whoever_comes_alone_is_not_given_a_companion(city: City) -> None:
    for number in range(40):
        for turn in play(city, Random(number), 8, {"name": "Ada", "companion": "nobody"}).turns:
            assert "nobody" not in re.findall(f"{MARK_ON}(.*?){MARK_OFF}", turn.reply)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("To see the sea.", "to see the sea"),
        ("I am hiding from my landlord", "because you are hiding from your landlord"),
        ("because I was told to", "because you were told to"),
        ("looking for my hat", "looking for your hat"),
        ("Love", "for one reason: Love"),
        ("my ship sank", "for one reason: your ship sank"),
        ("?!", "for one reason: "),
    ],
)
def test_a_reason_is_told_in_the_grammar_of_the_story(reason: str, told: str) -> None:
    assert because(reason) == told


def test_notes_are_answered_from_and_otherwise_let_be(city: City, walks: list[Walk]) -> None:
    """Two thirds of the lines come without; a question about one is answered in its own words."""
    turns = [turn for walk in walks for turn in walk.turns]
    assert 0.5 < sum(not turn.notes for turn in turns) / len(turns) < 0.8
    assert max(len(turn.notes) for turn in turns) == 3
    asked = [turn for turn in turns if turn.intent == "ask"]
    assert len(asked) > 30
    for turn in asked:
        assert any(note.rstrip(".") in plain(turn.reply) for note in turn.notes), turn


def test_what_was_put_down_is_found_again_and_what_was_given_is_gone(city: City) -> None:
    walk = Walk(city, Random(5), {"name": "Ada"}, place="market")
    walk.open()
    walk.bag = ["the tin spoon"]
    kept = walk.quest.item
    while walk.bag:
        acts.drop(walk, None)
    assert walk.lying[walk.place] == ["the tin spoon"]
    assert "Take the tin spoon." in walk.more_choices()
    here = walk.place
    away = walk.here.ways[0]
    walk.go(away, "go")
    assert "the tin spoon" in plain(walk.go(here, "back").reply)
    acts.take_lying(walk, "the tin spoon", "take it")
    assert walk.lying[here] == []
    acts.give_item(walk, "the tin spoon", "give it")
    assert walk.bag == []
    assert kept == walk.quest.item


def test_what_was_found_and_who_came_along_is_recalled(city: City) -> None:
    asked = set()
    for number in range(20):
        walk = Walk(city, Random(number), {"name": "Ada", "companion": "nobody"}, place="market")
        assert chat.recall(walk, None).intent == "where"
        acts.search(walk, None)
        acts.follow(walk, None)
        walk.go(walk.here.ways[0], "go")
        turn = chat.recall(walk, None)
        asked.add(turn.intent)
        assert mark(walk.bag[-1] if turn.intent == "bag" else city.places["market"].who.name) in turn.reply
    assert asked == {"bag", "guide_alone_q"}


def test_lines_of_a_visitor_go_to_the_lists_of_their_kind(city: City) -> None:
    phrases = {"verbs": {"smell": ["Smell {t}"]}, "deeds": {"smell": {"said": ["sniff"]}}}
    ways: dict[str, list[str]] = {"go": ["go to {to}"]}
    _add(phrases, ways, "verb_smell", ["sniff at {t}", "Smell {t}"])
    _add(phrases, ways, "smell", ["what stinks here?"])
    _add(phrases, ways, "go", ["off to {to}"])
    assert phrases == {
        "verbs": {"smell": ["Smell {t}", "sniff at {t}"]},
        "deeds": {"smell": {"said": ["sniff", "what stinks here?"]}},
    }
    assert ways == {"go": ["go to {to}", "off to {to}"]}
    with pytest.raises(ValueError, match="`verb_yodel` is no kind"):
        _add(phrases, ways, "verb_yodel", ["yodel at {t}"])
    for verb, lines in city.phrases["verbs"].items():
        assert sum("{t}" in line for line in lines) > 60, verb


def test_a_quest_can_be_seen_through(city: City) -> None:
    kinds = {turn.intent for number in range(400) for turn in play(city, Random(f"quest/{number}"), 14).turns}
    assert {"quest_ask", "quest_take", "quest_give"} <= kinds


def test_whoever_is_asked_for_an_errand_has_one(city: City) -> None:
    for number in range(20):
        walk = Walk(city, Random(number), {"name": "Ada"}, place="market")
        walk.quest = walk.make_quest("gate")
        ask = f"Ask {walk.here.who.name} what is the matter."
        assert walk.quest_choice() == ask
        assert ask in walk.more_choices()
        assert not walk.is_quest_here()
        turn = acts.quest(walk, ask)
        assert (turn.intent, walk.quest.owner) == ("quest_ask", "market")
        assert walk.quest.stage in (1, 2)
        assert ask not in turn.choices


def test_one_errand_at_a_time(city: City) -> None:
    for number in range(20):
        walk = Walk(city, Random(number), {"name": "Ada"}, place="market")
        acts.quest(walk, None)
        errand, stage = walk.quest, walk.quest.stage
        walk.place = next(place for place in city.places if place not in ("market", errand.at, errand.goal))
        turn = acts.quest(walk, None)
        assert turn.intent == "quest_on"
        assert f"Ask {walk.here.who.name} what is the matter." in city.choices(walk.place)
        walk.place = "market"
        again = acts.quest(walk, None)
        assert again.intent == "quest_on"
        assert mark(errand.item) in again.reply, "who gave it speaks of it"
        assert (walk.quest, walk.quest.stage) == (errand, stage)


def test_what_was_told_is_told_in_other_words(city: City) -> None:
    walk = Walk(city, Random(1), {"name": "Ada"}, place="market")
    for act, line in ((chat.self_, walk.here.who.self), (chat.secret, walk.here.who.secret)):
        first, again = (plain(act(walk, None).reply).lower() for _ in range(2))
        assert typeset(line).rstrip(".").lower() in first
        assert typeset(line).rstrip(".").lower() not in again
    name, verb = next((name, verb) for name, verbs in walk.here.things.items() for verb in verbs)
    lines = walk.here.things[name][verb]
    told = [plain(acts.use(walk, name, verb, "x").reply) for _ in range(len(lines) + 1)]
    assert all(any(typeset(line) in reply for line in lines) for reply in told[:-1])
    assert not any(typeset(line) in told[-1] for line in lines)


def test_no_two_sentences_beside_the_point_begin_alike(city: City, walks: list[Walk]) -> None:
    for walk in walks:
        for turn in walk.turns:
            asides = [" ".join(plain(part).split()[:3]) for part in ASIDE.findall(turn.reply)]
            assert len(set(asides)) == len(asides), turn.reply


@pytest.mark.parametrize(
    ("companion", "guided", "planned"),
    [("nobody", False, "alone_q"), ("nobody", True, "guide_alone_q"),
     ("a cat", False, "companion_q"), ("a cat", True, "guide_companion_q")],
)  # fmt: skip
def test_a_plan_says_who_is_along(city: City, companion: str, guided: bool, planned: str) -> None:
    walk = Walk(city, Random(1), {"name": "Ada", "companion": companion}, place="market")
    if guided:
        acts.follow(walk, None)
    turn = chat.told_at_the_gate(walk, "companion_q", "Who is with me?")
    assert turn.intent == planned
    assert ("the cat" in plain(turn.reply).partition(".")[0]) == (companion == "a cat")


def test_a_plan_says_whether_something_is_carried(city: City) -> None:
    walk = Walk(city, Random(1), {"name": "Ada"}, place="market")
    assert chat.bag(walk, None).intent == "bag_none"
    acts.search(walk, None)
    assert chat.bag(walk, None).intent == "bag"


@pytest.mark.parametrize(
    ("companion", "spoken_of"),
    [
        ("a small dog", "the small dog"),
        ("An owl", "the owl"),
        ("My cat Mog", "your cat Mog"),
        ("Anna", "Anna"),
        ("all of my cats", "all of your cats"),
    ],
)
def test_a_companion_is_spoken_of_as_a_story_does(companion: str, spoken_of: str) -> None:
    assert refer(companion) == spoken_of


def test_quotes_are_set_except_in_what_the_visitor_wrote() -> None:
    text = typeset(f'"{MARK_ON}it\'s "so"{MARK_OFF}", says the baker. "That\'s new."')
    assert plain(text) == '“it\'s "so"”, says the baker. “That’s new.”'


def test_no_companion_of_the_trials_is_ever_made_up() -> None:
    rng = Random(7)
    made = {words.companion(rng) for _ in range(20_000)}
    assert len(made) > 10_000
    assert not made & ({*HELD_OUT["companions"]} - {"nobody"})


def test_names_come_from_an_open_vocabulary() -> None:
    rng = Random(1)
    made = [words.name(rng) for _ in range(2000)]
    assert len(set(made)) > 1300
    assert any("-" in name for name in made)
    assert any(not name.isascii() for name in made)
    assert any(" " in name for name in made)


def test_the_visitors_of_the_evaluation_are_strangers_to_the_generator(city: City) -> None:
    assert held_apart() == []
    assert make_trials(city, 6) == make_trials(city, 6)
    assert (
        make_trials(city, 6)[0].intent.startswith(("opening", "early_", "go")) or make_trials(city, 6)[0].before == []
    )


def test_the_tokenizer_gives_back_any_text_and_the_encoder_weighs_replies_only(
    tmp_path: Path, city: City, world: World
) -> None:
    write_corpus(SMALL, tmp_path)
    shard = read_shard(tmp_path, 0)
    texts = [message["content"] for walk in shard for message in compose(world, walk["profile"], told(walk))]
    tokenizer = train_tokenizer(texts, 728)
    assert tokenizer.get_vocab_size() == 728
    for text in ("Zoë-美咲 O'Hara, 3rd\n> Knock.", "“Đorđe”… 🦊", texts[1]):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text

    encoder = Encoder(world, tokenizer, context=2000, copied=3.0)
    walk = next(walk for walk in shard if "name" in walk["profile"] and walk["profile"]["name"] in walk["turns"][0][1])
    walk = {**walk, "turns": walk["turns"][:2]}
    ids, wanted, weights = encoder.encode(walk)
    assert (ids == wanted).all()

    def heard(*weighed: float) -> str:
        """What weighs as much, or anything at all."""
        kept = weights > 0 if not weighed else np.isin(weights, weighed)
        return str(tokenizer.decode(ids[kept].tolist(), skip_special_tokens=False))

    plans = ["".join(Plans(city).plan(intent, place)) for _, _, place, intent, _ in walk["turns"]]
    replies = [plain(turn[1]) + EOT for turn in walk["turns"]]
    assert heard() == "".join(plan + reply for plan, reply in zip(plans, replies, strict=True))
    assert heard(PLAN) == "".join(plans)
    assert walk["profile"]["name"] in heard(3.0, 3 * ANSWER)
    assert any(plain(part).split()[-1] in heard(BESIDE) for turn in walk["turns"] for part in ASIDE.findall(turn[1]))
    assert all(
        choice in heard(CHOICE, 3 * CHOICE) for reply in replies for choice in re.findall(r"^> [^<\n]*", reply, re.M)
    )
    # the storyteller drops what a visitor should not see
    assert tokenizer.decode(ids[weights > 0].tolist()) == "".join(reply.removesuffix(EOT) for reply in replies)


def test_a_hint_asks_for_the_wish_at_every_token_of_a_line_and_nowhere_else(
    city: City, world: World, demo_tokenizer: Tokenizer
) -> None:
    plain_rows = Encoder(world, demo_tokenizer, context=900, copied=3.0)
    hinting = replace(plain_rows, hint=1.25)
    walk = next(
        w for w in (record(play(city, Random(f"hint/{n}"), 5)) for n in range(9)) if any(t[4] for t in w["turns"])
    )
    walks = (plain_rows.encode(walk), hinting.encode(walk))
    plans = (plain_rows.plans(city, Random("hint")), hinting.plans(city, Random("hint")))
    for before, after in (walks, plans):
        hinted = after.weights == 1.25
        assert (before.ids == after.ids).all()
        assert (before.wanted == after.wanted)[~hinted].all()
        assert (before.weights == after.weights)[~hinted].all()
        assert (before.weights[hinted] == 0).all()
        # a target lies one token after what is read: the runs of read tokens are the lines, each to its end
        read = np.flatnonzero(hinted) - 1
        runs = np.split(read, np.flatnonzero(np.diff(read) > 1) + 1)
        whole = [run for run in runs if run[-1] + 9 < len(after.ids)]  # the row may be cut in the last one
        assert len(whole) >= 2
        for run in whole:
            line = demo_tokenizer.decode(after.ids[run].tolist(), skip_special_tokens=False)
            text = demo_tokenizer.decode(after.ids[: run[-1] + 1].tolist(), skip_special_tokens=False)
            assert line.endswith(EOT)
            assert text.endswith("\n\n" + line)
            assert "\n\n" not in line
            wishes = {str(demo_tokenizer.id_to_token(int(token))) for token in after.wanted[run + 1]}
            assert len(wishes) == 1
            coming = demo_tokenizer.decode(after.ids[run[-1] + 1 :][:9].tolist(), skip_special_tokens=False)
            assert wishes.pop() in coming


def test_rows_of_lines_ask_for_every_wish_and_say_only_where_a_walk_has_come(
    city: City, world: World, demo_tokenizer: Tokenizer
) -> None:
    encoder = Encoder(world, demo_tokenizer, context=500, copied=3.0, hint=1.25)
    intents = Plans(city).intents
    moves = untold = 0
    for number in range(4):
        row = encoder.lines(city, Random(number))
        walk = record(play(city, Random(number), 40, brisk=True))
        hinted = np.flatnonzero(row.weights == 1.25)
        runs = np.split(hinted, np.flatnonzero(np.diff(hinted) > 1) + 1)
        # what is carried was decided by replies that nobody told
        asked = [turn for turn in walk["turns"] if turn[3] not in ("bag", "bag_none")]
        untold += len(walk["turns"]) - len(asked)
        for run, (said, _, _, intent, _) in zip(runs[1:-1], asked[1:], strict=False):  # the last may be cut
            line = demo_tokenizer.decode(row.ids[run - 1].tolist(), skip_special_tokens=False)
            assert line == said.strip() + EOT
            wish = intents[intent.removeprefix("early_")]
            assert {demo_tokenizer.id_to_token(int(token)) for token in row.wanted[run]} == {wish}
        text = demo_tokenizer.decode(row.ids.tolist(), skip_special_tokens=False)
        places = re.findall(r"<\|at:(\w+)\|>", text)
        moves += len(places) - 1
        assert all(place != before for place, before in pairwise(places))
        assert len(runs) > text.count("assistant") * 2
        assert set(row.weights[row.weights > 0].tolist()) == {1.25, PLAN}
    assert moves > 3
    assert untold


@pytest.mark.parametrize(
    ("kind", "tell"),
    [
        ("look_whole", acts.look_any),
        ("use_whole", acts.use_any),
        ("take_whole", acts.take),
        ("give_whole", acts.give),
        ("ask_whole", chat.noun),
    ],
)
def test_a_line_may_name_a_thing_of_its_own_and_has_it_answered(city: City, kind: str, tell: Intent) -> None:
    lines = city.ways_to_say[kind]
    for line in lines:
        assert re.fullmatch(r"[^\[\]{}]*\[[^\[\]{}]+\][^\[\]{}]*", line), line
    things = {line.partition("[")[2].partition("]")[0] for line in lines}
    turns = [tell(Walk(city, Random(f"whole/{number}"), {"name": "Ada"}), None) for number in range(60)]
    answered = [thing for thing in things for turn in turns if typeset(mark(theirs(thing))) in turn.reply]
    assert not any("[" in turn.said + turn.reply for turn in turns)
    assert len(answered) > 5


def test_a_drill_and_a_line_under_which_another_turn_is_told_have_no_hints(
    city: City, world: World, demo_tokenizer: Tokenizer
) -> None:
    hinting = Encoder(world, demo_tokenizer, context=400, copied=3.0, hint=1.25)
    assert not (hinting.drill(city, Random(1)).weights == 1.25).any()
    wishes = {demo_tokenizer.token_to_id(token) for token in Plans(city).intents.values()}
    crossed = 0
    for number in range(8):
        ids, wanted, weights = hinting.answers(city, Random(number))
        hinted = set(wanted[weights == 1.25].tolist())
        for token in {int(token) for token in ids} & wishes:
            asked = (weights[ids == token] == PLAN).any()
            crossed += not asked
            assert asked or token not in hinted
    assert crossed


def test_a_reply_without_its_plan_should_have_begun_with_one(
    demo_tokenizer: Tokenizer, city: City, world: World
) -> None:
    """In rows with a choice some replies show no plan: its first token is what their own first one should have been."""
    encoder = Encoder(world, demo_tokenizer, context=2000, copied=3.0)
    plans = Plans(city)
    shown = Counter[bool]()
    for number in range(15):
        walk = record(play(city, Random(f"plans/{number}"), 6))
        ids, wanted, weights = encoder.encode(walk, Random(number))
        text = demo_tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        wishes = {demo_tokenizer.token_to_id(wish) for wish in plans.intents.values()}
        first = iter([int(token) for token in wanted if int(token) in wishes])
        for _, reply, place, intent, _ in walk["turns"]:
            plan = "".join(plans.plan(intent, place))
            begins = "assistant<|end_header_id|>\n\n"
            shows = f"{begins}{plan}{plain(reply)}" in text
            assert shows or f"{begins}{plain(reply)}" in text
            shown[shows] += 1
            assert demo_tokenizer.id_to_token(next(first)) == plan.partition(">")[0] + ">"
        assert next(first, None) is None
        other = ids != wanted
        assert (weights[other] == PLAN).all()
    assert min(shown[True], shown[False]) > 8


def test_rows_of_plans_tell_nothing_else_and_drills_only_read_theirs(
    demo_tokenizer: Tokenizer, city: City, world: World
) -> None:
    encoder = Encoder(world, demo_tokenizer, context=500, copied=3.0)
    special = {demo_tokenizer.token_to_id(token) for token in Plans(city).tokens}
    ids, _, weights = encoder.plans(city, Random(1))
    assert set(ids[weights > 0].tolist()) <= special
    assert (weights > 0).sum() >= 16
    ids, _, weights = encoder.drill(city, Random(1))
    assert sum(int(token) in special for token in ids) == 2
    assert not any(int(token) in special for token in ids[weights > 0])
    assert (weights > 0).sum() > 30
    with_notes = encoder.plans(city, Random(7)).ids.tolist()
    assert demo_tokenizer.decode(with_notes).count("(") <= 6


def test_rows_of_answers_tell_no_choices_and_cross_only_what_needs_nothing_of_the_line(
    demo_tokenizer: Tokenizer, city: City, world: World
) -> None:
    """A plan that is asked for stands under its own line; one that is only read may stand under any."""
    encoder = Encoder(world, demo_tokenizer, context=500, copied=3.0)
    plans = Plans(city)
    free = {demo_tokenizer.token_to_id(plans.intents[intent]) for intent in plans.free}
    wishes = {demo_tokenizer.token_to_id(token) for token in plans.intents.values()}
    asked = crossed = 0
    for number in range(8):
        ids, wanted, weights = encoder.answers(city, Random(f"answers/{number}"))
        told = demo_tokenizer.decode(ids[(weights > 0) & (weights != PLAN)].tolist())
        assert "\n> " not in told
        assert (ids == wanted).all()
        assert not (weights[ids == demo_tokenizer.token_to_id(EOT)] > 0).any()
        for token, weight in zip(ids.tolist(), weights.tolist(), strict=True):
            if token in wishes:
                asked += weight == PLAN
                crossed += weight == 0
                assert weight in (0, PLAN)
                assert weight == PLAN or token in free
    assert asked > 2 * crossed > 8


def test_a_tokenizer_from_before_the_plans_is_refused(demo_tokenizer: Tokenizer, city: City, world: World) -> None:
    old = Encoder(world, Tokenizer.from_str(demo_tokenizer.to_str().replace("<|wish:", "<|was:")), 500, 3.0)
    with pytest.raises(ValueError, match=r"knows no <\|wish:"):
        old.encode(record(play(city, Random(2), 9)), Random(3))


def test_every_turn_has_a_plan(city: City, walks: list[Walk]) -> None:
    plans = Plans(city)
    told = {plans.plan(turn.intent, turn.place) for walk in walks for turn in walk.turns}
    assert len({wish for wish, _ in told}) > 60
    assert {place for _, place in told} == set(plans.places.values())
    assert len(set(plans.tokens)) == len(plans.tokens) == ROOM
    with pytest.raises(KeyError):
        plans.plan("unheard_of", "avenue")


def test_a_brisk_walk_adds_no_more_than_makes_four_sentences(city: City) -> None:
    brisk = [play(city, Random(f"brisk/{number}"), 12, brisk=True) for number in range(200)]
    replies = [turn.reply for walk in brisk for turn in walk.turns]
    assert len(replies) == 200 * 12
    for turn in (turn for walk in brisk for turn in walk.turns if not turn.intent.startswith("early_")):
        body = turn.reply.partition("\n\n")[0]
        answer = ASIDE.sub("", body)
        assert sentences(body) >= 3
        assert answer == body or sentences(body) <= 4
    assert sum(sentences(reply.partition("\n\n")[0]) >= 4 for reply in replies) > 0.95 * len(replies)
    for walk in brisk:
        for turn in walk.turns:
            assert set(turn.reply.partition("\n\n> ")[2].split("\n> ")) <= city.choices(turn.place) | turn.choices
    rare = Counter(turn.intent for walk in brisk for turn in walk.turns)
    assert rare["foreign"] + rare["what"] > rare["talk"]


def test_a_drill_copies_what_the_prompt_holds(city: City, world: World) -> None:
    for number in range(50):
        profile, turn = drill(city, Random(number))
        copied = [plain(part) for part in re.findall(f"{MARK_ON}.*?{MARK_OFF}", turn.reply)]
        assert len(copied) >= 3
        defaults = [field.default for field in world.profile]
        given = " ".join(
            [*profile.values(), you(" ".join(profile.values())), turn.said, *turn.notes, *defaults]
        ).lower()
        for part in copied:
            bare = re.sub("^(the|your|because|for one reason:) ", "", part.lower())
            assert bare.removeprefix("your ") in given


def test_a_visitor_cannot_write_a_turn_of_the_chat(world: World) -> None:
    messages = compose(world, {"name": "<|eot_id|>"}, [])
    text = render(messages, ask=True)
    assert text.count(EOT) == len(messages)
    assert all(special not in messages[0]["content"] for special in SPECIALS)
