"""English words that the guards look for."""

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

CONTRACTIONS = {"'s": "is", "'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
