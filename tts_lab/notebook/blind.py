"""Blind listening: two checkpoints say the same sentence, and the listener does not know which is which.

The order is drawn when the page is written, from a seed the page tells, so that two listeners hear the same.
"""

import itertools
import random
from collections.abc import Sequence


def trials(
    voices: Sequence[int], sentences: Sequence[int], seed: int, at_most: int = 400
) -> list[tuple[int, int, int]]:
    """What is heard first, what second, and which sentence: (voice, voice, sentence), in the order of the page.

    Every pair of voices comes once before any comes again, each time with a sentence it has not said yet, and which
    of the two is first is drawn. So it may be broken off after any trial and all pairs have been heard about equally
    often.
    """
    draw = random.Random(seed)
    pairs = list(itertools.combinations(voices, 2))
    said = {pair: draw.sample(list(sentences), len(sentences)) for pair in pairs}
    order = []
    for number in range(len(sentences)):
        for pair in draw.sample(pairs, len(pairs)):
            one, two = draw.sample(pair, 2)
            order.append((one, two, said[pair][number]))
    return order[:at_most]


MARKUP = """
<div id="blind"><p><button id="begin">begin</button> <span id="progress" class="quiet"></span></p>
<div id="trial" hidden><p id="sentence"></p>
<div class="pair"><div>1 <audio id="one" controls preload="none"></audio></div>
<div>2 <audio id="two" controls preload="none"></audio></div></div>
<p><button id="first">1 is better</button> <button id="second">2 is better</button>
<button id="same">0 no difference</button> <button id="end">show the tally</button></p></div>
<div id="tally" hidden></div><p><button id="results" hidden>save the results</button>
<button id="forget" hidden>begin anew</button></p></div>
"""

SCRIPT = r"""
"use strict";
const blind = JSON.parse(document.getElementById("trials").textContent);
const at = id => document.getElementById(id), key = "tts-lab blind " + blind.page;
const WORDS = {1: "one", 2: "two", 0: "same"};
let answers = [];
try { answers = JSON.parse(localStorage.getItem(key)) || []; } catch (error) { answers = []; }
let running = false;

// Where a browser keeps nothing, the answers last as long as the page is open, and can be saved from it.
function keep() { try { localStorage.setItem(key, JSON.stringify(answers)); } catch (error) { } }
function progress() {
  at("progress").textContent = `${answers.length} of ${blind.trials.length} answered.`;
}
function show() {
  progress();
  if (answers.length >= blind.trials.length) return finish();
  const [one, two, sentence] = blind.trials[answers.length];
  at("sentence").textContent = "“" + blind.sentences[sentence] + "”";
  for (const [id, voice] of [["one", one], ["two", two]]) {
    at(id).pause();
    at(id).src = at(`clip-${voice}-${sentence}`).getAttribute("src");
  }
}
function answer(number) {
  if (!running) return;
  const [one, two, sentence] = blind.trials[answers.length];
  answers.push({sentence: blind.sentences[sentence], one: blind.voices[one], two: blind.voices[two],
                better: WORDS[number], at: new Date().toISOString()});
  keep();
  show();
}
function tally() {
  const table = {};
  for (const {one, two, better} of answers) {
    for (const [voice, side] of [[one, "one"], [two, "two"]]) {
      const row = table[voice] = table[voice] || {won: 0, lost: 0, same: 0};
      row[better === "same" ? "same" : better === side ? "won" : "lost"] += 1;
    }
  }
  return table;
}
function finish() {
  running = false;
  at("one").pause(); at("two").pause();
  at("trial").hidden = true;
  at("begin").textContent = "go on";
  at("begin").hidden = answers.length >= blind.trials.length;
  const table = document.createElement("table"), lines = Object.entries(tally());
  table.className = "data";
  // Half a point for a tie, so that a voice which was never worse or better stands at 50 %.
  const share = row => (row.won + row.same / 2) / (row.won + row.lost + row.same);
  lines.sort((a, b) => share(b[1]) - share(a[1]));
  const add = cells => {
    const line = table.insertRow();
    for (const text of cells) line.insertCell().textContent = text;
  };
  add(["voice", "better", "worse", "no difference", "preferred"]);
  for (const [voice, row] of lines) add([voice, row.won, row.lost, row.same, Math.round(100 * share(row)) + " %"]);
  at("tally").replaceChildren(table);
  for (const id of ["tally", "results", "forget"]) at(id).hidden = false;
  progress();
}
at("begin").onclick = () => {
  running = true;
  at("begin").hidden = true;
  at("trial").hidden = false;
  for (const id of ["tally", "results", "forget"]) at(id).hidden = true;
  show();
};
at("first").onclick = () => answer(1);
at("second").onclick = () => answer(2);
at("same").onclick = () => answer(0);
at("end").onclick = finish;
at("forget").onclick = () => { answers = []; keep(); at("begin").click(); };
document.addEventListener("keydown", event => {
  const alone = !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (alone && event.key in WORDS) answer(Number(event.key));
});
at("results").onclick = () => {
  const content = {format: "tts_lab/blind/1", page: blind.page, seed: blind.seed, answers, tally: tally()};
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], {type: "application/json"}));
  link.download = "blind.json";
  link.click();
};
if (answers.length) finish(); else progress();
"""
