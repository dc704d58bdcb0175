// Sequences, cycles, once-only lists and shuffles, round and round; alternatives that span lines.
VAR round = 0
- (top)
~ round++
{one|two|three} {&red|green} {!first time.} {~heads|tails|edge}
{stopping:
- A door.
- The door again.
}
{shuffle:
- The owl calls.
- The cat sleeps.
- The kettle sings.
}
{shuffle once:
- Now.
- Then.
}
{cycle:
- Left, -> side ->
- Right.
}
{RANDOM(1, 6) + RANDOM(1, 6)} on the dice.
{round < 7: -> top}
-> END
=== side
and {~up|down}.
->->
