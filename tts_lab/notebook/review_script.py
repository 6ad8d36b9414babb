"""What the review page does in a browser: the same decisions as `tts_lab.corpus.decisions` writes, line for line.

Text from the corpus reaches the page only as `textContent` or a field's value, never as markup.
"""

SCRIPT = r"""
"use strict";
const page = JSON.parse(document.getElementById("clips").textContent);
const key = "tts-lab review " + page.corpus;
const same = text => text.trim().split(/\s+/).join(" ");
let made = [];  // lines decided in this browser, oldest first
try { made = JSON.parse(localStorage.getItem(key)) || []; } catch (error) { made = []; }

// What was decided before the page was written and what was decided on it, in the order of time. A line that was
// saved from this browser and is in the corpus by now counts once.
function journal() {
  const lines = new Map([...page.made, ...made].map(line => [JSON.stringify(line), line]));
  return [...lines.values()].sort((a, b) => (Date.parse(a.at) || 0) - (Date.parse(b.at) || 0));
}
// The decisions about one clip; an undo takes back the last.
function past(id) {
  const stack = [];
  for (const line of journal()) {
    if (line.id === id) { if (line.action === "undo") stack.pop(); else stack.push(line); }
  }
  return stack;
}
function standing(id) {
  const line = past(id).at(-1), clip = page.clips[id];
  return line && (line.about === clip.text || line.text === clip.text) && line.recording === clip.recording
    ? line : null;
}
function told(line) {
  if (!line) return "undecided";
  if (line.action === "reject") return "rejected" + (line.reason ? ": " + line.reason : "");
  const parts = [];
  if (line.text !== undefined) parts.push("text corrected");
  if (line.begin !== undefined) parts.push(`cut to ${line.begin.toFixed(2)}–${line.end.toFixed(2)} s`);
  return parts.join(", ") || "kept as it is";
}
function add(line) {
  // Times are told apart, or a line decided twice in one millisecond would count as one.
  const last = Date.parse((journal().at(-1) || {}).at) || 0;
  const at = new Date(Math.max(Date.now(), last + 1)).toISOString();
  made.push({...line, at});
  try { localStorage.setItem(key, JSON.stringify(made)); }
  catch (error) { alert("This browser keeps nothing for this page: save the decisions before you close it."); }
}
function decide(id, action, given) {
  const clip = page.clips[id], before = standing(id), about = before ? before.about : clip.text;
  const line = {id, action, about, recording: clip.recording};
  const text = given.text !== undefined ? given.text : before && before.text;
  if (text && text !== about) line.text = text; else if (action === "text") line.action = "keep";
  const cut = given.begin !== undefined ? given : before || {};
  if (cut.begin !== undefined) { line.begin = cut.begin; line.end = cut.end; }
  if (given.reason) line.reason = given.reason;
  for (const name of ["about", "recording"]) if (!line[name]) delete line[name];
  add(line);
}
function count() {
  const lines = Object.keys(page.clips).map(standing).filter(line => line);
  document.getElementById("count").textContent = `${lines.length} of ${Object.keys(page.clips).length} decided.`;
}
for (const section of document.querySelectorAll(".clip")) {
  const id = section.dataset.id, find = name => section.querySelector(name);
  const [text, state, picture, audio] = [find("textarea"), find(".state:last-child"), find(".picture"), find("audio")];
  const [begin, end] = [find(".begin"), find(".end")], seconds = begin ? Number(begin.max) : 0;
  const veils = [0, 1].map(() => { const veil = document.createElement("div"); veil.className = "veil"; return veil; });
  const shown = () => { const line = standing(id); return line && line.text || page.clips[id].text; };
  const say = trouble => { state.textContent = trouble; };
  function shade() {
    veils[0].style.cssText = `left:0;width:${100 * begin.value / seconds}%`;
    veils[1].style.cssText = `right:0;width:${100 * (1 - end.value / seconds)}%`;
  }
  function refresh() {
    const line = standing(id), cut = line && line.begin !== undefined ? line : {begin: 0, end: seconds};
    text.value = shown();
    if (begin) { begin.value = cut.begin.toFixed(2); end.value = Math.min(cut.end, seconds).toFixed(2); shade(); }
    state.textContent = !line && past(id).length
      ? "What was decided was about another text or recording. Decide again." : told(line);
    section.classList.toggle("decided", Boolean(line));
    find(".undo").disabled = !past(id).length;
    count();
  }
  function press(action, given = {}) {
    const typed = same(text.value);
    if (typed !== shown() && (typed || action !== "reject")) given.text = typed;
    if (given.text === "") return say("The corrected text is empty: write what is said, or reject the clip.");
    if (action === "text" && given.text === undefined) return say("Change the text first, then press “fix text”.");
    decide(id, action, given);
    refresh();
  }
  find(".keep").onclick = () => press("keep");
  find("button.text").onclick = () => press("text");
  find(".reject").onclick = () => press("reject", {reason: find(".reason").value.trim()});
  find(".undo").onclick = () => { add({id, action: "undo"}); refresh(); };
  if (begin) {
    picture.append(...veils);
    begin.oninput = end.oninput = shade;
    find("button.cut").onclick = () => {
      const given = {begin: Number(begin.value), end: Number(end.value)};
      if (!(given.begin >= 0 && given.begin < given.end)) return say("The cut is empty: it must begin before it ends.");
      press("cut", given);
    };
    let from = null;
    const second = event => {
      const box = picture.getBoundingClientRect();
      return seconds * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    picture.onpointerdown = event => {
      from = second(event); picture.setPointerCapture(event.pointerId); event.preventDefault();
    };
    picture.onpointermove = event => {
      if (from === null) return;
      const ends = [from, second(event)].sort((a, b) => a - b);
      begin.value = ends[0].toFixed(2); end.value = ends[1].toFixed(2); shade();
    };
    picture.onpointerup = () => { from = null; };
    find(".hear").onclick = () => {
      const stop = () => { if (audio.currentTime >= Number(end.value)) { audio.pause(); audio.ontimeupdate = null; } };
      audio.currentTime = Number(begin.value); audio.ontimeupdate = stop; audio.play();
    };
  }
  refresh();
}
document.getElementById("save").onclick = () => {
  const lines = journal().map(line => JSON.stringify(line) + "\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, {type: "application/jsonl"}));
  link.download = "review.jsonl";
  link.click();
};
"""
