// A prologue in ink: what the tags and the two knots do. Ours, and small enough to be read.
EXTERNAL known(key)
VAR name = ""
VAR awake = false
VAR eta_s = 0.0
VAR lines = 0
-> quay

=== function known(key)
~ return false

=== quay
# speaker: The ferryman
Evening. Mind the rope. # at: 0
The boat leaves when it is ready. # at: 1.8
What shall I call you? # ask: name
{name == "": Nameless, then.|{name}. A good name for a boat.}
Where to? # ask: place # free
* [The island # pass]
    {awake: Good. We go at once.|Good. It is a long way.}
* [The far shore]
    Nobody goes there twice.
* [somewhere else # other]
    Never heard of it.
- # speaker: A gull
Screech. # beat
# speaker: The ferryman
{known("place"): You may sit in front.|Sit where you like.}
What will you pay with?
* A song[.], you say.
    Sing it, then.
* [A penny.] Keep it.
- -> DONE

=== waiting
{shuffle once:
- The water slaps against the boat. -> more ->
- A lamp is lit over there. -> more ->
- An oar knocks in its lock. -> more ->
- Somewhere a dog barks, once. -> more ->
}
-> DONE

=== more
~ lines = lines + 1
That makes {lines}.
->->

=== curtain
There. Step in{name != "":, {name}}.
-> END
