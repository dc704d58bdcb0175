// Choices, gathers, labels, conditions on what was chosen, once-only and sticky choices, fallbacks, glue, tags.
VAR lamps = 0
-> gate
=== gate
You stand at the gate. # speaker: The Guardian # at: 0
The bell is <>
silver<>
, and quiet. # at: 1.5
- (ask) "What brings you?" # ask: reason
* (wizard) [The Wizard]
    "They all say that." # dry
    * * "But I mean it[."]," you say.
        "They all say that, too."
    * * [Say nothing]
- - He writes it down.
* {wizard} "I have another reason[."]: the lamps."
    ~ lamps = lamps + 4
    He lights one. {lamps} are left.
+ Look at the bell[] once more.
    It is {still silver|silver all the same|what it is}. {!It hums.|It hums again.}
* -> done_asking
- {ask < 6: -> ask}
-> done_asking
=== done_asking
{gate.wizard: He shakes your hand. | He bows.}
{
- lamps > 3: The lamps burn.
- lamps == 0: It is dark.
- else: One lamp burns.
}
You asked {gate.ask} times; {TURNS_SINCE(-> gate.ask)} turns ago, {CHOICE_COUNT()} choices.
-> END
