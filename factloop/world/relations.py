"""The relations of the world and the wordings that express them.

A wording has slots `{s}` subject, `{o}` object and `{d}` detail; the part in square brackets
falls away where the detail is not given. Documents and summaries never share a wording, and
tables have their own column names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    name: str
    subject: str
    object: str
    detail: str
    partner: str
    """The relation between the same types with which it is confused; empty: swap the arguments."""
    columns: tuple[str, str, str]
    document: tuple[str, ...]
    denied: tuple[str, ...]
    """Negated wordings of documents; they never carry the detail."""
    summary: tuple[str, ...]
    summary_denied: tuple[str, ...]
    questions: dict[str, tuple[str, ...]]
    """Questions by the slot that answers them: s, o, d; `ns`, `no` ask about denied facts."""


RELATIONS = {
    relation.name: relation
    for relation in (
        Relation(
            "born", "person", "place", "year", "moved", ("Person", "Birthplace", "Born"),
            (
                "{s} was born in {o}[ in {d}]",
                "[in {d}, ]{s} came into the world in {o}",
                "{o} is where the life of {s} began[ in {d}]",
                "{s} is a native of {o}[, born there in {d}]",
                "a family in {o} welcomed {s}[ in {d}]",
                "the birthplace of {s} is {o}[, the year {d}]",
            ),
            ("{s} was not born in {o}", "{o} is not where the life of {s} began"),
            ("{s} hails from {o}[, born in {d}]", "[in {d} ]{s} saw first light in {o}", "{o} is the home town of {s}[ since {d}]"),
            ("{s} does not hail from {o}",),
            {
                "s": ("Who was born in {o}?", "Who hails from {o}?"),
                "o": ("Where was {s} born?", "Which town does {s} hail from?"),
                "d": ("When was {s} born?", "In what year was {s} born?"),
                "ns": ("Who was not born in {o}?",),
                "no": ("Where was {s} not born?",),
            },
        ),
        Relation(
            "moved", "person", "place", "year", "born", ("Person", "New home", "Moved"),
            (
                "{s} moved to {o}[ in {d}]",
                "[in {d}, ]{s} packed up and left for {o}",
                "{o} became the residence of {s}[ in {d}]",
                "{s} bought a house in {o}[ in {d}]",
                "[by {d} ]{s} had taken rooms in {o}",
                "a flat in {o} was rented by {s}[ in {d}]",
            ),
            ("{s} did not move to {o}", "{o} did not become the residence of {s}"),
            ("{s} settled in {o}[ in {d}]", "[in {d} ]{s} relocated to {o}", "{s} made {o} a new home[ in {d}]"),
            ("{s} never settled in {o}",),
            {
                "s": ("Who moved to {o}?", "Who settled in {o}?"),
                "o": ("Where did {s} move?", "Which town did {s} settle in?"),
                "d": ("When did {s} move to {o}?", "In what year did {s} settle in {o}?"),
                "ns": ("Who did not move to {o}?",),
                "no": ("Where did {s} not move?",),
            },
        ),
        Relation(
            "joined", "person", "team", "year", "coached", ("Player", "Club", "Signed"),
            (
                "{s} joined {o}[ in {d}]",
                "[in {d}, ]{s} became a player of {o}",
                "{o} took {s} into the squad[ in {d}]",
                "{s} put on the shirt of {o}[ in {d}]",
                "the contract of {s} with {o} began[ in {d}]",
                "[since {d} ]{s} has played for {o}",
            ),
            ("{s} did not join {o}", "{o} did not take {s} into the squad"),
            ("{s} signed for {o}[ in {d}]", "[in {d} ]{o} recruited {s}", "{o} acquired {s}[ in {d}]"),
            ("{s} never signed for {o}",),
            {
                "s": ("Who joined {o}?", "Who signed for {o}?"),
                "o": ("Which team did {s} join?", "Who did {s} sign for?"),
                "d": ("When did {s} join {o}?", "In what year did {s} sign for {o}?"),
                "ns": ("Who did not join {o}?",),
                "no": ("Which team did {s} not join?",),
            },
        ),
        Relation(
            "coached", "person", "team", "number", "joined", ("Coach", "Side", "Matches"),
            (
                "{s} coached {o}[ for {d} matches]",
                "[for {d} matches ]{s} stood on the bench of {o}",
                "{o} were trained by {s}[ for {d} matches]",
                "{s} led the training of {o}[ over {d} matches]",
                "the squad of {o} was drilled by {s}[ for {d} matches]",
                "[over {d} matches ]{s} picked the line-up of {o}",
            ),
            ("{s} did not coach {o}", "{o} were not trained by {s}"),
            ("{s} managed {o}[ through {d} games]", "[through {d} games ]{o} were managed by {s}", "{s} was in charge of {o}[ through {d} games]"),
            ("{s} never managed {o}",),
            {
                "s": ("Who coached {o}?", "Who managed {o}?"),
                "o": ("Which team did {s} coach?", "Who did {s} manage?"),
                "d": ("How many matches did {s} coach {o}?", "For how many games did {s} manage {o}?"),
                "ns": ("Who did not coach {o}?",),
                "no": ("Which team did {s} not coach?",),
            },
        ),
        Relation(
            "wrote", "person", "work", "year", "translated", ("Author", "Title", "Published"),
            (
                "{s} wrote {o}[ in {d}]",
                "[in {d}, ]{s} finished the novel {o}",
                "{o} came from the desk of {s}[ in {d}]",
                "{s} is the author of {o}[, printed in {d}]",
                "[in {d} ]the book {o} by {s} was printed",
                "the pages of {o} were written by {s}[ in {d}]",
            ),
            ("{s} did not write {o}", "{o} did not come from the desk of {s}"),
            ("{s} published {o}[ in {d}]", "[in {d} ]{s} brought out {o}", "{o} was penned by {s}[ in {d}]"),
            ("{s} never published {o}",),
            {
                "s": ("Who wrote {o}?", "Who published {o}?"),
                "o": ("Which book did {s} write?", "What did {s} publish?"),
                "d": ("When did {s} write {o}?", "In what year did {s} publish {o}?"),
                "ns": ("Who did not write {o}?",),
                "no": ("Which book did {s} not write?",),
            },
        ),
        Relation(
            "translated", "person", "work", "place", "wrote", ("Translator", "Book", "Town"),
            (
                "{s} translated {o}[ in {d}]",
                "[in {d}, ]{s} worked on a translation of {o}",
                "{o} was put into another language by {s}[ in {d}]",
                "{s} produced a foreign version of {o}[ in {d}]",
                "the translation of {o} by {s} was made[ in {d}]",
                "[at a school in {d} ]{s} turned {o} into another tongue",
            ),
            ("{s} did not translate {o}", "{o} was not put into another language by {s}"),
            ("{s} rendered {o} abroad[ while in {d}]", "[while in {d} ]{s} was the translator of {o}", "{o} was rendered by {s}[ while in {d}]"),
            ("{s} never rendered {o} abroad",),
            {
                "s": ("Who translated {o}?", "Who rendered {o}?"),
                "o": ("Which book did {s} translate?", "What did {s} render?"),
                "d": ("Where did {s} translate {o}?", "In which town did {s} render {o}?"),
                "ns": ("Who did not translate {o}?",),
                "no": ("Which book did {s} not translate?",),
            },
        ),
        Relation(
            "founded", "person", "company", "number", "advised", ("Founder", "Firm", "Workers"),
            (
                "{s} founded {o}[ with {d} workers]",
                "[with {d} workers ]{s} opened the doors of {o}",
                "{o} was started by {s}[ with {d} workers]",
                "{s} is the founder of {o}[, begun with {d} workers]",
                "the business of {o} was begun by {s}[ with {d} workers]",
                "[hiring {d} workers, ]{s} brought {o} into being",
            ),
            ("{s} did not found {o}", "{o} was not started by {s}"),
            ("{s} set up {o}[ with {d} staff]", "[with {d} staff ]{s} launched {o}", "{o} was set up by {s}[ with {d} staff]"),
            ("{s} never set up {o}",),
            {
                "s": ("Who founded {o}?", "Who set up {o}?"),
                "o": ("Which company did {s} found?", "What did {s} set up?"),
                "d": ("With how many workers did {s} found {o}?", "How many staff did {s} set up {o} with?"),
                "ns": ("Who did not found {o}?",),
                "no": ("Which company did {s} not found?",),
            },
        ),
        Relation(
            "advised", "person", "company", "role", "founded", ("Adviser", "Employer", "Post"),
            (
                "{s} worked for {o}[ as {d}]",
                "[as {d}, ]{s} was on the payroll of {o}",
                "{o} employed {s}[ as {d}]",
                "{s} had a desk at {o}[ as {d}]",
                "the offices of {o} knew {s}[ as {d}]",
                "[as its {d} ]{s} went to work at {o}",
            ),
            ("{s} did not work for {o}", "{o} did not employ {s}"),
            ("{s} served {o}[ as {d}]", "[as {d} ]{s} held a post with {o}", "{o} relied on {s}[ as {d}]"),
            ("{s} never served {o}",),
            {
                "s": ("Who worked for {o}?", "Who served {o}?"),
                "o": ("Which company did {s} work for?", "What did {s} serve?"),
                "d": ("As what did {s} work for {o}?", "In which role did {s} serve {o}?"),
                "ns": ("Who did not work for {o}?",),
                "no": ("Which company did {s} not work for?",),
            },
        ),
        Relation(
            "succeeded", "person", "person", "role", "", ("New holder", "Old holder", "Office"),
            (
                "{s} followed {o}[ as {d}]",
                "[as {d}, ]{s} came after {o}",
                "{o} handed over to {s}[ as {d}]",
                "{s} took the chair of {o}[ as {d}]",
                "{o} made way for {s}[ as {d}]",
                "[as the new {d} ]{s} took over from {o}",
            ),
            ("{s} did not follow {o}", "{o} did not hand over to {s}"),
            ("{s} succeeded {o}[ as {d}]", "[as {d} ]{s} replaced {o}", "{o} was succeeded by {s}[ as {d}]"),
            ("{s} never succeeded {o}",),
            {
                "s": ("Who followed {o}?", "Who succeeded {o}?"),
                "o": ("Who did {s} follow?", "Who did {s} succeed?"),
                "d": ("As what did {s} follow {o}?", "In which role did {s} succeed {o}?"),
                "ns": ("Who did not follow {o}?",),
                "no": ("Who did {s} not follow?",),
            },
        ),
        Relation(
            "won", "team", "event", "number", "hosted", ("Winner", "Contest", "Points"),
            (
                "{s} won {o}[ with {d} points]",
                "[with {d} points ]{s} took first place in {o}",
                "{o} ended with {s} on top[ with {d} points]",
                "{s} lifted the prize of {o}[ after {d} points]",
                "the title of {o} went to {s}[ for {d} points]",
                "[after {d} points ]{s} were champions of {o}",
            ),
            ("{s} did not win {o}", "the title of {o} did not go to {s}"),
            ("{s} triumphed in {o}[ on {d} points]", "[on {d} points ]{s} captured {o}", "{o} fell to {s}[ on {d} points]"),
            ("{s} never triumphed in {o}",),
            {
                "s": ("Who won {o}?", "Who triumphed in {o}?"),
                "o": ("What did {s} win?", "What did {s} triumph in?"),
                "d": ("With how many points did {s} win {o}?", "On how many points did {s} capture {o}?"),
                "ns": ("Who did not win {o}?",),
                "no": ("What did {s} not win?",),
            },
        ),
        Relation(
            "hosted", "team", "event", "month", "won", ("Host", "Occasion", "Month"),
            (
                "{s} hosted {o}[ in {d}]",
                "[in {d}, ]{s} opened the gates for {o}",
                "{o} was held by {s}[ in {d}]",
                "{s} gave {o} a ground[ in {d}]",
                "the guests of {o} were received by {s}[ in {d}]",
                "[in {d} ]{s} put up the tents for {o}",
            ),
            ("{s} did not host {o}", "{o} was not held by {s}"),
            ("{s} staged {o}[ in {d}]", "[in {d} ]{s} organised {o}", "{o} was staged by {s}[ in {d}]"),
            ("{s} never staged {o}",),
            {
                "s": ("Who hosted {o}?", "Who staged {o}?"),
                "o": ("What did {s} host?", "What did {s} stage?"),
                "d": ("When did {s} host {o}?", "In which month did {s} stage {o}?"),
                "ns": ("Who did not host {o}?",),
                "no": ("What did {s} not host?",),
            },
        ),
    )
}  # fmt: skip
PERSON_RELATIONS = [name for name, relation in RELATIONS.items() if relation.subject == "person"]
