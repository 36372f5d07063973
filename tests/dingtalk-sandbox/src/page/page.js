"use strict";
// The page: who one is, the chat, what the bridge does. What messages look like is in content.js.
const byId = (id) => document.getElementById(id);
const api = async (path, body) => {
  const init = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch("/_sandbox" + path, init);
  const value = await response.json();
  if (!response.ok) throw new Error(value.error || "HTTP " + response.status);
  return value;
};
const clock = (ms) => new Date(ms).toLocaleTimeString();
const titles = new Map();
const MOST = 300;
let app = "";
let shown = 0;

const own = () => byId("person").value;
// Until somebody used it, the 1:1 with the bot has no id.
const UNUSED = "oto";
const chat = () => (byId("chat").value === UNUSED ? "" : byId("chat").value);
const fill = (select, options) => {
  const before = select.value;
  select.replaceChildren(...options.map(([value, text]) => { const o = node("option", "", text); o.value = value; return o; }));
  if (options.some(([value]) => value === before)) select.value = before;
};
const scrollDown = (list) => { list.scrollTop = list.scrollHeight; };
const trim = (list) => { while (list.children.length > MOST) list.firstElementChild.remove(); };
const addMessage = (kind, id, who, parts, time) => {
  const list = byId("messages");
  list.querySelector(".empty")?.remove();
  const item = node("li", kind);
  item.dataset.id = id;
  const words = node("div", "words");
  words.append(...parts);
  item.append(node("span", "who", who + " · " + clock(time)), words);
  list.append(item);
  // A picture that comes later must not push the newest message out of sight.
  for (const media of words.querySelectorAll("img, video")) {
    for (const event of ["load", "loadedmetadata"]) media.addEventListener(event, () => scrollDown(list));
  }
  trim(list);
  scrollDown(list);
  return item;
};
const find = (id) => [...byId("messages").children].find((item) => item.dataset.id === id);
// What is answered may be a person's message or the bridge's.
const answered = (id) => {
  const item = find(id);
  if (!item) return node("span", "answered", "an older message");
  const text = item.querySelector(".words").textContent.trim() || "[picture]";
  return node("span", "answered", item.dataset.who + ": " + text);
};
const showMessage = (m) => {
  if (find(m.msg_id)) return;
  const who = names.get(m.staff_id) || m.staff_id;
  const parts = ofMessage(m);
  if (m.quote) parts.unshift(answered(m.quote));
  const item = addMessage(m.staff_id === own() ? "own" : "", m.msg_id, who, parts, m.time);
  item.dataset.who = who;
  item.append(node("span", "state wait", m.to_bot ? "on its way to the bridge…" : "no bot mentioned: the bridge does not get it"));
};
const takeBack = (item) => {
  if (!item || item.classList.contains("recalled")) return;
  item.classList.add("recalled");
  item.append(node("span", "state wait", "taken back: gone for everybody in DingTalk"));
};
const showSent = (s) => {
  if (find(s.msg_id)) return;
  const item = addMessage("bridge", s.msg_id, "bridge · " + s.channel, ofSent(s), s.time);
  item.dataset.index = s.index;
  item.dataset.who = "bridge";
  if (s.recalled) takeBack(item);
};
const describe = (p) => {
  if (p.answered) return ["good", "answered in " + (p.answer_us / 1000).toFixed(1) + " ms" + (p.attempts > 1 ? ", try " + p.attempts : "") + (p.error ? " · " + p.error : "")];
  if (p.error) return ["bad", (p.attempts ? "try " + p.attempts + ": " : "") + p.error];
  return ["wait", "on its way to the bridge…"];
};
const showProgress = (id, p) => {
  const state = find(id)?.querySelector(".state");
  if (!state) return;
  const [kind, text] = describe(p);
  state.className = "state " + kind;
  state.textContent = text;
};
const note = (kind, text) => {
  const list = byId("activity");
  list.prepend(node("li", kind, clock(Date.now()) + "  " + text));
  while (list.children.length > MOST) list.lastElementChild.remove();
};

const loadChat = async () => {
  const mine = ++shown;
  const id = chat();
  byId("messages").replaceChildren();
  const group = titles.get(id)?.kind === "group";
  byId("mention-label").hidden = !group;
  const empty = () => byId("messages").append(node("li", "empty", "Nothing here yet. Write something."));
  if (!id) return empty();
  const query = "?chat_id=" + encodeURIComponent(id);
  const [messages, sent, deliveries] = await Promise.all([api("/messages" + query), api("/sent" + query), api("/deliveries" + query)]);
  if (mine !== shown) return;
  const all = [...messages.map((m) => [m.time, showMessage, m]), ...sent.map((s) => [s.time, showSent, s])];
  all.sort((a, b) => a[0] - b[0]);
  for (const [, show, value] of all.slice(-MOST)) show(value);
  for (const d of deliveries) if (d.to_bot) showProgress(d.msg_id, d);
  if (!all.length) empty();
};
const loadChats = async () => {
  const all = await api("/chats");
  titles.clear();
  for (const c of all) titles.set(c.chat_id, c);
  const mine = all.filter((c) => c.members.includes(own()) && !c.disbanded && c.kind === "group");
  const direct = all.find((c) => c.kind === "oto" && c.members.includes(own()));
  const select = byId("chat");
  const wasDirect = select.value === UNUSED || titles.get(select.value)?.kind === "oto";
  const options = mine.map((c) => [c.chat_id, c.title]);
  options.push([direct ? direct.chat_id : UNUSED, "1:1 with the bot"]);
  fill(select, options);
  if (wasDirect) select.selectedIndex = options.length - 1;
};
const onEvent = async (event) => {
  if (event.event === "message") {
    const m = event.message;
    if (!titles.has(m.chat_id)) await loadChats();
    note("", (names.get(m.staff_id) || m.staff_id) + " wrote in " + (titles.get(m.chat_id)?.title || m.chat_id));
    if (m.chat_id === chat()) showMessage(m);
  } else if (event.event === "attempt") {
    const [kind, text] = describe(event.progress);
    note(kind, "callback " + event.msg_id.slice(0, 12) + "… " + text);
    showProgress(event.msg_id, event.progress);
  } else if (event.event === "sent") {
    const s = event.sent;
    if (!titles.has(s.chat_id) && s.channel !== "work") await loadChats();
    note("good", "bridge sent (" + s.channel + ", " + s.msg_key + ") to " + (titles.get(s.chat_id)?.title || s.chat_id) + ": " + summary(s).slice(0, 120));
    if (s.chat_id === chat()) showSent(s);
  } else if (event.event === "recalled") {
    note("", "bridge took back a message");
    takeBack([...byId("messages").children].find((item) => item.dataset.index === String(event.index)));
  } else if (event.event === "push") {
    const [kind, text] = describe(event.push.progress);
    note(kind, "event " + event.push.event_type + ": " + text + (event.push.failed ? " (given up, on the failed list)" : ""));
  } else if (event.event === "lost") {
    note("bad", "a message was not delivered: " + event.error);
    showProgress(event.msg_id, { error: event.error });
  } else if (event.event === "webhook") {
    note(event.check.ok ? "good" : "bad", event.check.ok ? "webhook saved" : "webhook refused: " + event.check.reason);
  }
};
const send = async () => {
  const text = byId("text").value.trim();
  byId("send-error").textContent = "";
  if (!text) return;
  byId("send").disabled = true;
  try {
    const posted = await api("/messages", { chat_id: chat(), staff_id: own(), text, mention_bot: byId("mention").checked });
    byId("text").value = "";
    if (chat() !== posted.chat_id) { await loadChats(); await loadChat(); }
  } catch (error) {
    byId("send-error").textContent = error.message;
  } finally {
    byId("send").disabled = false;
    byId("text").focus();
  }
};
byId("compose").addEventListener("submit", (event) => { event.preventDefault(); send(); });
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
byId("person").addEventListener("change", async () => { await loadChats(); await loadChat(); });
byId("chat").addEventListener("change", loadChat);
window.addEventListener("resize", () => scrollDown(byId("messages")));
byId("webhook").addEventListener("submit", async (event) => {
  event.preventDefault();
  const check = byId("check");
  check.className = "wait";
  check.textContent = "checking…";
  byId("save").disabled = true;
  try {
    const result = await api("/apps/" + encodeURIComponent(app) + "/webhook", { url: byId("url").value.trim(), token: byId("token").value.trim(), aes_key: byId("aes-key").value.trim() });
    check.className = result.ok ? "good" : "bad";
    check.textContent = result.ok ? "✓ verified and saved" : "✗ " + result.reason + " (" + result.detail + ")";
  } catch (error) {
    check.className = "bad";
    check.textContent = "✗ " + error.message;
  } finally {
    byId("save").disabled = false;
  }
});
const begin = async () => {
  const world = await api("/world");
  app = world.app_key;
  byId("organization").textContent = world.organization;
  byId("app-key").textContent = app;
  for (const p of world.people) names.set(p.staff_id, p.name);
  fill(byId("person"), world.people.map((p) => [p.staff_id, p.name]));
  const saved = (await api("/apps")).find((a) => a.app_key === app)?.webhook;
  if (saved) { byId("url").value = saved.url; byId("token").value = saved.token; byId("aes-key").value = saved.aes_key; }
  await loadChats();
  await loadChat();
  const live = new EventSource("/_sandbox/live");
  live.onopen = () => { byId("connection").textContent = "live"; loadChat(); };
  live.onerror = () => { byId("connection").textContent = "connection lost, trying again…"; };
  let queue = Promise.resolve();
  live.onmessage = (message) => { queue = queue.then(() => onEvent(JSON.parse(message.data))).catch(console.error); };
};
begin().catch((error) => { byId("connection").textContent = error.message; });
