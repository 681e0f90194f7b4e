"""What is behind a score, to look at: the plot of a pair's tokens, and the steps of each judge in a trace."""

from __future__ import annotations

import base64
import math
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from tasks.evidence import steps_of, token_plot
from tasks.report import page

pytestmark = pytest.mark.unit
SVG = "{http://www.w3.org/2000/svg}"
TOKENS = [["Who<b>", math.log(0.5), math.log(0.25)], ["?\x00", math.log(1.0), -50.0], ["Mara $x$", math.log(0.1), math.log(0.9)]]
PAIR: dict[str, Any] = {
    "question": "Who<script>?", "answer": "Mara", "document": -1.0, "summary": -0.5, "answer_only": -2.2, "cut": 2, "tokens": TOKENS,
}  # fmt: skip
TOLD = {"document": "Mara won.", "summary": "Jonas won."}


def drawn(url: str) -> ElementTree.Element:
    kind, _, data = url.partition(";base64,")
    assert kind == "data:image/svg+xml"
    return ElementTree.fromstring(base64.b64decode(data))


def test_the_bars_of_the_plot_are_the_probabilities_of_the_tokens() -> None:
    answer, *bars = drawn(token_plot(PAIR)).iter(f"{SVG}rect")
    whole = float(answer.attrib["height"])
    found = [float(bar.attrib["height"]) / whole for bar in bars]
    assert found == pytest.approx([0.25, 0.5, 0.0, 1.0, 0.9, 0.1], abs=1e-3)  # given the summary, then given the document
    assert [bar[0].text for bar in bars][0] == "Who<b> given the summary: 0.250"
    assert float(answer.attrib["x"]) == 2 * float(answer.attrib["width"])  # two tokens of the question, one of the answer


def test_a_person_opens_the_pair_to_see_without_a_script() -> None:
    row = {"id": "a", "status": "scored", "marked": [], "scores": {}, "reference": None, "document": "d"}
    row["evidence"] = {"quals": [PAIR, PAIR | {"question": "When?", "tokens": [*TOKENS, *TOKENS]}]}
    own = SimpleNamespace(name="n", kind="summaries", writer="w", profile=SimpleNamespace(name="p"), judges={"qagen": 1})
    done = SimpleNamespace(run_id="r", metrics={})
    text = page("evaluate.html.jinja", own=own, done=done, names=[], rows=[row], broken=[], statuses={}, token_plot=token_plot)
    assert text.count("data:image/svg+xml") == 2 and text.count('name="pair-1"') == 2 and "<script" not in text
    assert text.index("Who&lt;script&gt;?") < text.index(token_plot(PAIR)) < text.index("When?") < text.rindex("data:image/svg+xml")


def test_a_trace_of_qags_tells_what_was_asked_and_answered() -> None:
    evidence = [{"question": "Who won?", "summary": "Jonas", "document": None, "f1": 0.0}]
    steps = steps_of("qags", evidence, TOLD)
    assert [name for name, _, _ in steps] == ["extract", "ask", "answer from the summary", "answer from the document", "compare"]
    assert steps[0][2] == ["Jonas"] and steps[3][2] == [None]
    assert steps[4][2] == [{"question": "Who won?", "answer": "Jonas", "document": None, "F1": 0.0}]


def test_a_trace_of_factcc_tells_each_sentence() -> None:
    evidence = [{"text": "Jonas won.", "correct": 0.1, "source": [0, 4], "claim": [0, 5]}]
    ((name, given, found),) = steps_of("factcc", evidence, TOLD)
    assert (name, given) == ("judge each sentence", TOLD)
    assert found == [{"sentence": "Jonas won.", "probability of CORRECT": 0.1, "spans": [[0, 4], [0, 5]]}]


def test_a_trace_of_quals_tells_both_sides() -> None:
    steps = steps_of("quals", [PAIR], TOLD)
    names = ["extract and ask", "answer given the summary", "answer given the document", "compare"]
    assert [name for name, _, _ in steps] == names and steps[3][2][0]["document - summary"] == -0.5


def test_a_report_marks_what_factcc_finds_wrong_and_shows_by_what() -> None:
    evidence = [
        {"text": "Jonas <b>won</b>.", "correct": 0.1, "source": [0, 4], "claim": [0, 5]},
        {"text": "It rained.", "correct": 0.9, "source": [5, 9], "claim": [3, 9]},
    ]
    row = {
        "id": "a",
        "status": "scored",
        "marked": [],
        "scores": {},
        "reference": None,
        "document": TOLD["document"],
        "evidence": {"factcc": evidence},
    }
    own = SimpleNamespace(name="n", kind="summaries", writer="w", profile=SimpleNamespace(name="p"), judges={"factcc": 1})
    done = SimpleNamespace(run_id="r", metrics={})
    text = page("evaluate.html.jinja", own=own, done=done, names=[], rows=[row], broken=[], statuses={}, token_plot=token_plot)
    assert '<mark class="doubted">Jonas</mark> &lt;b&gt;won&lt;/b&gt;.' in text and "by: Mara<" in text
    assert "<td>It rained.</td>" in text and "by: won.<" in text
