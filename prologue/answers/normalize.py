"""Writes a line as the phrasings are written: full-width letters, chat slang and simple typos folded.

"ty!!", "whats ur name" and "ｈｅｌｐ" mean what "thank you", "what's your name" and "help" mean, but an
embedder sees other tokens. Lines and phrasings both pass through here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection

_SLANG = {
    "u": "you", "r": "are", "ur": "your", "y": "why", "b": "be", "n": "and", "k": "ok", "pls": "please",
    "plz": "please", "plis": "please", "thx": "thanks", "thnx": "thanks", "tnx": "thanks", "ty": "thank you",
    "tysm": "thank you so much", "tyvm": "thank you very much", "cya": "see you",
    "idk": "I don't know", "dunno": "don't know", "wat": "what",
    "wut": "what", "wot": "what", "whats": "what's", "wats": "what's", "whos": "who's", "wheres": "where's",
    "hows": "how's", "whens": "when's", "whys": "why is", "thats": "that's", "theres": "there's", "heres": "here's",
    "im": "I'm", "ive": "I've", "ill": "I'll", "id": "I'd", "youre": "you're", "theyre": "they're", "dont": "don't",
    "doesnt": "doesn't", "didnt": "didn't", "isnt": "isn't", "arent": "aren't", "wasnt": "wasn't", "wont": "won't",
    "cant": "can't", "couldnt": "couldn't", "wouldnt": "wouldn't", "shouldnt": "shouldn't", "havent": "haven't",
    "hasnt": "hasn't", "gonna": "going to", "wanna": "want to", "gotta": "have to", "gimme": "give me",
    "lemme": "let me", "kinda": "kind of", "sorta": "sort of", "outta": "out of", "cuz": "because", "coz": "because",
    "cos": "because", "bc": "because", "tho": "though", "thru": "through", "abt": "about", "rn": "right now",
    "asap": "soon", "btw": "by the way", "imo": "I think", "ppl": "people", "msg": "message", "pic": "picture",
    "pics": "pictures", "vid": "video", "diff": "difference", "info": "information", "prolly": "probably",
    "def": "definitely", "tmrw": "tomorrow", "tmr": "tomorrow", "tonite": "tonight", "nite": "night",
    "2day": "today", "2moro": "tomorrow", "l8r": "later", "gr8": "great", "sry": "sorry", "soz": "sorry",
    "hafta": "have to", "oughta": "ought to", "whatcha": "what are you", "howd": "how did", "whyd": "why did",
    "color": "colour", "colors": "colours", "favorite": "favourite", "yall": "you all",
}  # fmt: skip
#: Words that add a mood and no meaning; left out where anything else remains.
_MOOD = frozenset(["lol", "lmao", "rofl", "haha", "hahaha", "hehe", "xd", "bro", "bruh", "dude"])

_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]+|\s+|_")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def fold(text: str) -> str:
    """The text with compatibility characters, slang, repeated marks and lengthened letters written plainly."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = re.sub(r"([!?.,])\1+", r"\1", text)
    text = re.sub(r"([^\W\d_])\1{2,}", r"\1\1", text)  # "sooo" → "soo"; no English word has three in a row
    tokens = _TOKEN.findall(text)
    words = [token for token in tokens if token[0].isalnum()]
    meaning = sum(word.casefold() not in _MOOD for word in words)
    single = len(words) == 1
    out = []
    for token in tokens:
        plain = token.casefold()
        if plain in _MOOD and meaning:
            continue
        # Alone, a letter or a figure is a reply ("b", "4"), and "Tom" or "Id" may be a name.
        if (plain in _SLANG and (len(plain) > 2 or not single or plain == "ty") and not token[0].isupper()) or (
            plain in _SLANG and token[0].isupper() and len(plain) > 3
        ):
            token = _SLANG[plain]
        out.append(token)
    return re.sub(r"\s+([!?.,])", r"\1", " ".join("".join(out).split())).strip(" ,")


class Speller:
    """Corrects words that are one slip away from a word of the phrasings."""

    def __init__(self, known: Collection[str], is_word: Callable[[str], bool]) -> None:
        """`known`: the words of the phrasings. `is_word`: whether a word is one of the language."""
        self._known = frozenset(word for word in known if len(word) > 3)
        self._is_word = is_word

    def correct(self, text: str) -> str:
        """The text with such words corrected; words of the language, names and short words stay."""
        return re.sub(r"[^\W\d_]{4,24}", lambda found: self._word(found[0]), text)

    def _word(self, word: str) -> str:
        plain = word.casefold()
        if plain in self._known or self._is_word(plain) or (word[0].isupper() and not word.isupper()):
            return word
        near = [slip for slip in _slips(plain) if slip in self._known]
        return near[0] if len(set(near)) == 1 else word


def _slips(word: str) -> list[str]:
    """Words that one slip turns into `word`: a letter too many, too few, wrong, or two swapped."""
    splits = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    return [
        *(a + b[1:] for a, b in splits if b),
        *(a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1),
        *(a + letter + b[1:] for a, b in splits if b for letter in _LETTERS),
        *(a + letter + b for a, b in splits for letter in _LETTERS),
    ]
