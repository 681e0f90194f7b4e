
"use strict";
(() => {
  const { study, rater, axes } = document.body.dataset;
  const names = axes.split(" ");
  const store = `factloop study ${study} rater ${rater}`;
  const articles = [...document.querySelectorAll("article")];
  const at = (id) => document.getElementById(id);
  const keys = { 1: "first", 2: "second", 0: "equal" };
  let answers = {};
  let place = 0;

  const answered = (article) => names.every((axis) => (answers[article.dataset.pair] || {})[axis]);
  const tell = (text) => { at("told").textContent = text; };

  const load = () => {
    try {
      const found = JSON.parse(localStorage.getItem(store)) || {};
      answers = found.answers || {};
      place = Math.min(Math.max(0, Number(found.place) || 0), articles.length - 1);
    } catch {
      answers = {};
    }
  };

  const save = () => {
    try {
      localStorage.setItem(store, JSON.stringify({ answers, place }));
    } catch {
      tell("This browser does not keep what pages store: do not close this page before you have downloaded your answers.");
    }
  };

  // The count that a key answers: the one that has the focus, else the first without an answer, else none.
  const asked = () => {
    const fields = [...articles[place].querySelectorAll("fieldset")];
    const given = answers[articles[place].dataset.pair] || {};
    return fields.find((field) => field.contains(document.activeElement)) || fields.find((field) => !given[field.dataset.axis]);
  };

  const paint = () => {
    const done = articles.filter(answered).length;
    at("progress").value = done;
    at("count").textContent = `${done} of ${articles.length} answered`;
    at("previous").disabled = place === 0;
    at("next").disabled = place === articles.length - 1;
    [...at("places").children].forEach((button, index) => {
      button.classList.toggle("done", answered(articles[index]));
      if (answered(articles[index])) button.classList.remove("open");
      if (index === place) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    const current = asked();
    articles[place].querySelectorAll("fieldset").forEach((field) => field.classList.toggle("asked", field === current));
  };

  const show = (index) => {
    place = Math.min(Math.max(0, index), articles.length - 1);
    articles.forEach((article, other) => { article.hidden = other !== place; });
    if (document.activeElement) document.activeElement.blur();
    window.scrollTo(0, 0);
    save();
    paint();
  };

  const nextOpen = () => {
    const order = articles.map((_, index) => (place + 1 + index) % articles.length);
    const open = order.find((index) => !answered(articles[index]));
    if (open === undefined) tell("All are answered: download your answers.");
    else show(open);
  };

  const answer = (field, value) => {
    const pair = field.closest("article").dataset.pair;
    answers[pair] = { ...answers[pair], [field.dataset.axis]: value };
    tell("");
    save();
    paint();
  };

  const download = () => {
    const open = articles.filter((article) => !answered(article));
    if (open.length) {
      open.forEach((article) => at("places").children[articles.indexOf(article)].classList.add("open"));
      show(articles.indexOf(open[0]));
      tell(`Not yet: ${open.length} of ${articles.length} are not fully answered (dashed in red below). The first of them is shown.`);
      return;
    }
    const lines = articles.map(({ dataset: { pair } }) => [study, rater, pair, ...names.map((axis) => answers[pair][axis])].join(","));
    const text = [["study", "rater", "pair", ...names].join(","), ...lines, ""].join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `answers-${study}-rater-${rater}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    tell(`Saved as ${link.download}: send this file to whoever asked you.`);
  };

  load();
  articles.forEach((article, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = index + 1;
    button.addEventListener("click", () => show(index));
    at("places").append(button);
    article.querySelectorAll("fieldset").forEach((field) => {
      const given = (answers[article.dataset.pair] || {})[field.dataset.axis];
      field.querySelectorAll("input").forEach((input) => {
        input.checked = input.value === given;
        input.addEventListener("change", () => answer(field, input.value));
      });
    });
  });
  at("previous").addEventListener("click", () => show(place - 1));
  at("next").addEventListener("click", () => show(place + 1));
  at("download").addEventListener("click", download);
  document.addEventListener("focusin", paint);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const value = keys[event.key];
    const field = value && asked();
    if (field) {
      const input = field.querySelector(`input[value="${value}"]`);
      input.checked = true;
      if (document.activeElement) document.activeElement.blur(); // the next key is for the next count
      answer(field, value);
    } else if (event.key === "n") show(place + 1);
    else if (event.key === "p") show(place - 1);
    else if (event.key === "u") nextOpen();
    else return;
    event.preventDefault();
  });
  at("bar").hidden = at("keys").hidden = false;
  show(place);
})();
