"""Tables of English words that the guards read a line's features by. Data only."""

from __future__ import annotations


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


NEGATIONS = _set(
    "not never no none nothing nobody nowhere neither nor without cannot hardly impossible unable",
    "dont doesnt didnt cant wont isnt arent wasnt couldnt shouldnt wouldnt havent hasnt aint",
)

#: Words of which the one makes a line the opposite of the same line with the other.
OPPOSITES = (
    ("on", "off"),
    ("start begin starting starts started resume", "stop end quit finish abort cancel interrupt stopping stops pause"),
    ("before", "after afterwards"),
    ("more", "less fewer"),
    ("open opened opens", "close closed closes shut"),
    ("first", "last"),
    ("enable enabled", "disable disabled"),
    ("show shown reveal visible", "hide hidden invisible"),
    ("mute muted silence", "unmute"),
    (
        "save saved keep store saving remember remembers",
        "delete deleted erase erased lose lost discard remove removed wipe forget forgets forgot",
    ),
    ("undo", "redo"),
    ("fast faster quicker quick", "slow slower slowly"),
    ("louder loud", "quieter quiet softer"),
    ("bigger larger big increase raise enlarge", "smaller decrease lower reduce shrink tiny"),
    ("longer long lengthen", "shorter short shorten"),
    ("light lighter bright day", "dark darker night"),
    ("add", "remove delete"),
    ("join", "leave"),
    ("win winning", "lose losing"),
    ("accept allow allowed permitted agree", "refuse forbid forbidden banned decline deny prohibited"),
    ("send", "receive"),
    ("public publicly", "private privately secret"),
    ("online", "offline"),
    ("connect connected", "disconnect disconnected"),
    ("subscribe", "unsubscribe"),
    ("import upload", "export download"),
    ("lock locked", "unlock unlocked"),
    ("buy", "sell"),
    ("always", "never"),
    ("everyone everybody everything all", "nobody nothing none"),
    ("alone", "together"),
    ("safe", "dangerous unsafe"),
    ("real true", "fake false"),
    ("left", "right"),
    ("up", "down"),
    ("forward forwards", "back backward backwards"),
    ("live alive", "die dead"),
    ("early earlier", "late later"),
    ("old older", "new newer young younger"),
    ("best better", "worst worse"),
    ("free", "paid"),
    ("most maximum max", "least minimum min"),
    ("expensive", "cheap"),
    ("easier easy", "harder hard difficult"),
    ("skip", "repeat replay rewatch"),
    ("zoom_in log_in sign_in opt_in", "zoom_out log_out sign_out opt_out"),
)

_COUNT = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDER = ("second", "third", "fourth", "fifth", "sixth", "seventh")
NUMBERS = {
    **{word: str(number) for number, word in enumerate(_COUNT, 2)},
    **{word: f"{number}." for number, word in enumerate(_ORDER, 2)},
    "zero": "0",
    "twice": "2x",
    "thrice": "3x",
    "dozen": "12",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
}

#: Persons that only an earlier line can have named.
OTHERS = _set("he she him her his hers they them their theirs himself herself themselves")
ME = _set("i me my mine we us our myself")
YOU = _set("you your yours yourself")

#: Words that say nothing by themselves: a line of nothing else leans on what was said before.
FUNCTION = _set(
    "a an the and or but so because if then than that this these those it its i me my mine we us our you your yours",
    "he she him her his hers they them their theirs who whom whose what which when where why how is am are was were",
    "be been being do does did done doing have has had having can could will would shall should may might must not no",
    "nor yes yeah yep nope ok okay please there here to of in on at by for from with without about as into over under",
    "again once more most else too very just only also any some all both each either neither one ones other another",
    "same such own now up down out off go goes going went come comes get gets got let lets thing things something",
    "anything nothing well oh hey sure right really maybe mean means say says said tell told dont cant wont",
    "first second third fourth last next former latter",
)

QUESTION = _set(
    "what who whom whose which when where why how is am are was were do does did can could will would shall should",
    "may might must has have had whats whos wheres hows isn't aren't don't doesn't didn't can't couldn't won't",
    "wouldn't shouldn't haven't hasn't",
)
#: Words that begin a question no other word could begin, and the measures that "how" may ask for.
ASKING = _set("who whose where when why")
MEASURES = {word: word for word in _set("long many much old far high deep heavy often fast")}
MEASURES |= {"big": "big", "large": "big", "tall": "high", "quick": "fast", "quickly": "fast", "wide": "big"}

#: Words a line made of function words may have more or less of.
FILLERS = _set("right now here then just really exactly actually so please might for me today")
CONNECTING = _set("and but or because then otherwise although though")

#: Capitals that name nobody.
NO_NAMES = _set("I OK AI TV Mr Mrs Dr")

CONTRACTIONS = {"'s": "is", "'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
