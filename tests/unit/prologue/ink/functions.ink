// Functions, references, tunnels, threads, temporary variables, logic and arithmetic, divert targets.
VAR name = "nobody"
VAR score = 7
CONST LIMIT = 10
VAR onward = -> street
~ raise(score, 2)
Score {score}, {score * 2 - 1}, {score / 2}, {score mod 4}, {-score}, {POW(2, 3)}, {MIN(score, LIMIT)}, {FLOOR(2.7)}.
{score == 9 && not (name == "Ada"): true enough|false} {score > LIMIT || false} {2 * 0.25} {"a" + "b"} {name ? "bod"}
Say {loudly("hello")}! {twice(3)}{twice(4)}
{fact(5)} is five times four times three times two.
-> crossing ->
Back again. <- thread_one
<- thread_two
+ [Stay] You stay.
- ~ temp far = score + 1
It is {far} miles. -> onward
=== street
The street. {TURNS()} turns.
* [On] -> END
* -> DONE
=== crossing
A bridge.
* [Over it] You go over.
* [Under it] You go under.
- -> deeper ->
->->
=== deeper
{crossing: Once.} Deep water.
->->
=== thread_one
A boy passes.
+ [Ask the boy] He has no time.
-> DONE
=== thread_two
A girl passes.
+ [Ask the girl] She has all the time.
-> back_in
=== back_in
{not seen_twice(): First time in.|Not again.}
-> street
=== function raise(ref what, by)
~ what = what + by
=== function twice(x)
~ return x * 2
=== function loudly(word)
{word == "hello": HELLO|{word}}
=== function fact(n)
{n <= 1:
    ~ return 1
}
~ return n * fact(n - 1)
=== function seen_twice()
~ return back_in > 1
