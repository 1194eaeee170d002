"use strict";
// Rollouts are data: all of their text goes into the page as textContent, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("gallery-data").textContent);
  const CHUNK = 60; // rows of the list that are made at once
  const list = document.getElementById("list");
  const detail = document.getElementById("detail");
  const form = document.getElementById("filters");
  const items = data.groups.flatMap((group, g) => group.rollouts.map((rollout, r) => ({ group, g, rollout, r })));
  let shown = items;
  let at = 0; // place in `shown` of the rollout that is looked at

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const nats = (milli) => (milli === null ? "–" : (milli / 1000).toFixed(2));
  const level = (milli) => (milli === null ? 0 : data.edges.filter((edge) => milli >= 1000 * edge).length);
  const verdict = (rollout) => (rollout.ok ? "✓" : "✗");
  const textOf = (item) => {
    item.text ??= item.rollout.steps.map((step) => step.texts.join("")).join("");
    return item.text;
  };
  const place = ({ group }) => [
    ...(data.runs.length > 1 ? [data.runs[group.run]] : []),
    ...(group.step === null ? [] : [`step ${group.step}`]),
    group.name,
  ].join(", ");

  // The filters.
  const fill = (name, values, label) => {
    const select = form.elements[name];
    select.append(new Option("any", ""), ...values.map((value) => new Option(label(value), value)));
    select.parentElement.hidden = values.length < 2;
  };
  const kinds = [...new Set(data.groups.map((group) => group.kind))];
  const steps = data.groups.map((group) => group.step).filter((step) => step !== null);
  fill("run", data.runs.map((_, i) => i), (i) => data.runs[i]);
  fill("kind", kinds, (kind) => kind.replaceAll("_", "-"));
  for (const name of ["first", "last"]) {
    form.elements[name].parentElement.hidden = new Set(steps).size < 2;
    form.elements[name].placeholder = steps.reduce((a, b) => (name === "first" ? Math.min(a, b) : Math.max(a, b)), steps[0] ?? 0);
  }
  const withClip = items.some((item) => item.rollout.clip !== null);
  if (withClip) form.elements.clip.value = "with";
  form.elements.clip.parentElement.hidden = items.every((item) => item.rollout.clip !== null) || !withClip;
  form.elements.verdict.parentElement.hidden = new Set(items.map((item) => item.rollout.ok)).size < 2;

  const passes = ({ group, rollout }, f) =>
    (f.run.value === "" || group.run === Number(f.run.value)) &&
    (f.kind.value === "" || group.kind === f.kind.value) &&
    (f.verdict.value === "" || rollout.ok === (f.verdict.value === "right")) &&
    (f.clip.value === "" || rollout.clip !== null) &&
    (f.first.value === "" || group.step === null || group.step >= Number(f.first.value)) &&
    (f.last.value === "" || group.step === null || group.step <= Number(f.last.value));
  const ORDERS = {
    entropy: (a, b) => (b.rollout.clip ?? -1) - (a.rollout.clip ?? -1),
    length: (a, b) => b.rollout.length - a.rollout.length,
  };
  const filter = () => {
    const f = form.elements;
    const words = f.text.value.toLowerCase();
    const found = (item) => textOf(item).toLowerCase().includes(words) || item.group.prompt.toLowerCase().includes(words);
    const before = shown[at];
    shown = items.filter((item) => passes(item, f) && (words === "" || found(item)));
    if (ORDERS[f.order.value]) shown.sort(ORDERS[f.order.value]);
    document.getElementById("count").textContent = `${shown.length} of ${items.length} rollouts.`;
    list.replaceChildren();
    look(Math.max(0, shown.indexOf(before)), false);
  };

  // The list: rows are made as they are scrolled to.
  const row = (item, index) => {
    const button = make("button", "row");
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.index = index;
    const head = make("span", "row-head");
    const mark = make("span", item.rollout.ok ? "verdict" : "verdict wrong", verdict(item.rollout));
    mark.setAttribute("aria-label", item.rollout.ok ? "success" : "failure");
    head.append(mark, make("span", "", place(item)));
    if (item.rollout.clip !== null) head.append(make("span", `t h${level(item.rollout.clip)}`, nats(item.rollout.clip)));
    const snippet = make("span", "snippet", textOf(item).trim().slice(0, 90).replaceAll("\n", " ⏎ "));
    snippet.dir = "auto";
    button.append(head, snippet);
    const entry = make("li");
    entry.append(button);
    return entry;
  };
  const extend = (to) => {
    const from = list.childElementCount;
    const rows = shown.slice(from, Math.max(to, from));
    list.append(...rows.map((item, i) => row(item, from + i)));
  };
  const nearEnd = () => list.scrollTop + list.clientHeight > list.scrollHeight - 400;
  list.addEventListener("scroll", () => nearEnd() && extend(list.childElementCount + CHUNK), { passive: true });

  // One rollout with its group.
  const drawStep = (step) => {
    const line = make("div", `step${step.clip ? " in" : ""}${step.clip === 2 ? " end" : ""}`);
    const text = make("span", "text");
    text.dir = "auto";
    step.texts.forEach((token, i) => {
      if (step.special.includes(i)) return text.append(make("span", "special", token));
      const span = make("span", `t h${level(step.nats[i])}`, token.replaceAll("\n", "⏎"));
      span.title = `${nats(step.nats[i])} nats`;
      text.append(span);
    });
    line.append(make("span", "no", step.number || "–"), text, make("span", "mean", nats(step.mean)));
    return line;
  };
  const drawMember = (item, rollout, r) => {
    const entry = make("li", rollout.ok ? "" : "failed");
    const go = make("button", "go", `${verdict(rollout)} ${r + 1}`);
    go.type = "button";
    go.setAttribute("aria-label", `rollout ${r + 1}, ${rollout.ok ? "success" : "failure"}`);
    if (r === item.r) go.setAttribute("aria-current", "true");
    go.addEventListener("click", () => show({ ...item, rollout, r }));
    entry.append(go);
    for (const step of rollout.steps.filter((one) => one.number)) {
      entry.append(" ", make("span", `t h${level(step.mean)}${step.clip === 2 ? " won" : ""}`, nats(step.mean)));
    }
    if (rollout.demonstration) entry.append(rollout.ok ? " (demonstration)" : " (mistake on request)");
    return entry;
  };
  const drawOthers = (item) => {
    const box = make("div", "others");
    box.append(make("h4", "", "Mean entropy of every step in the group"));
    const members = make("ul");
    members.append(...item.group.rollouts.map((rollout, r) => drawMember(item, rollout, r)));
    box.append(members, make("p", "note", "✓ succeeded, ✗ failed (gives no clip); framed: the step that was chosen."));
    if (item.rollout.others.length) {
      box.append(make("h4", "", "The best other candidates of the group"));
      const others = make("ul");
      for (const [text, milli] of item.rollout.others) {
        const entry = make("li");
        entry.append(make("span", `t h${level(milli)}`, nats(milli)), " ", text);
        others.append(entry);
      }
      box.append(others);
    }
    return box;
  };
  const show = (item) => {
    const { group, rollout, r } = item;
    const many = group.rollouts.length > 1 ? `, rollout ${r + 1} of ${group.rollouts.length}` : "";
    const title = make("h3", "", `${place(item)}${many}: ${rollout.ok ? "a success" : "a failure"}`);
    const clip = rollout.clip === null ? "No clip here." : `The clip ends at a step of ${nats(rollout.clip)} nats.`;
    const about = make("p", "note", `Group: ${data.kinds[group.kind] ?? group.kind}. ${rollout.length} tokens. ${clip} `);
    const readout = make("span", "readout");
    about.append(readout);
    const prompt = make("pre", "prompt", group.prompt);
    prompt.dir = "auto";
    const stepsBox = make("div", "steps");
    stepsBox.append(...rollout.steps.map(drawStep));
    const read = (event) => {
      if (event.target.title) readout.textContent = `“${event.target.textContent}”: ${event.target.title}`;
    };
    stepsBox.addEventListener("pointerover", read);
    stepsBox.addEventListener("click", read);
    const left = make("div", "rollout");
    left.append(prompt, stepsBox);
    const pair = make("div", "pair");
    pair.append(left, drawOthers(item));
    detail.replaceChildren(title, about, pair);
  };

  // Moving about.
  const look = (index, focus) => {
    extend(Math.max(CHUNK, index + 10));
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    list.querySelectorAll("button[tabindex='0']").forEach((button) => (button.tabIndex = -1));
    at = index;
    if (!shown.length) return detail.replaceChildren(make("p", "note", "No rollout passes the filters."));
    const button = list.children[index].firstElementChild;
    button.setAttribute("aria-current", "true");
    button.tabIndex = 0;
    if (button.offsetTop < list.scrollTop) list.scrollTop = button.offsetTop;
    const below = button.offsetTop + button.offsetHeight - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    if (focus) button.focus({ preventScroll: true });
    show(shown[index]);
  };
  const move = (by) => {
    const to = Math.min(shown.length - 1, Math.max(0, at + by));
    if (shown.length) look(to, list.contains(document.activeElement));
  };
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) look(Number(button.dataset.index), true);
  });
  const MOVES = { j: 1, k: -1 };
  const LIST_MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const by = MOVES[event.key] ?? (list.contains(event.target) ? LIST_MOVES[event.key] : undefined);
    if (by !== undefined) move(by);
    else if (event.key === "/") form.elements.text.focus();
    else return;
    event.preventDefault();
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());

  // Light or dark: the system's choice until the button is pressed.
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  });
  theme.hidden = false;
  document.getElementById("no-script").hidden = true;
  document.getElementById("gallery").hidden = false;
  filter();
})();
