// A Matrix client as small as can be: a few users, their rooms, messages. What messages look like is in content.js.
"use strict";

const element = (id) => document.getElementById(id);
let session; // of the user who is chosen: { user_id, access_token, rooms, ended }
let sent = 0;

async function call(method, path, body) {
  const answer = await fetch(`/_matrix/client/v3${path}`, {
    method,
    headers: { Authorization: `Bearer ${session.access_token}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
    signal: session.ended.signal,
  });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.error || `the homeserver answered ${answer.status}`);
  return json;
}

const nameOf = (room, user) => room.names.get(user) || user;

function line(room, event) {
  const name = nameOf(room, event.sender);
  const sender = node("span", "sender", `${name} · ${new Date(event.origin_server_ts).toLocaleTimeString()}`);
  sender.title = event.sender;
  const item = node("li", event.sender === session.user_id ? "own" : "", sender);
  const gone = event.content.body === undefined;
  const answered = event.content["m.relates_to"]?.["m.in_reply_to"]?.event_id;
  if (answered && !gone) {
    const original = room.shown.find((other) => other.event_id === answered);
    const words = original ? `${nameOf(room, original.sender)}: ${original.content.body ?? "(taken back)"}` : "an older message";
    item.append(node("span", "answered", words));
  }
  const words = gone ? ["(taken back)"] : parts(event, name, session.access_token);
  item.append(node("div", "words", ...words));
  if (gone) item.classList.add("gone");
  if (event.content.msgtype === "m.notice") item.classList.add("notice");
  item.dataset.eventId = event.event_id;
  return item;
}

function show() {
  const list = element("messages");
  const id = element("room").value;
  const room = session.rooms.get(id);
  if (!room) return list.replaceChildren();
  if (room.invited) {
    const button = node("button", "", "Join");
    button.addEventListener("click", () => call("POST", `/join/${encodeURIComponent(id)}`, {}).catch(failed));
    return list.replaceChildren(node("li", "", node("p", "", "You are invited to this room."), button));
  }
  list.replaceChildren(...room.shown.map((event) => line(room, event)));
  const down = () => { list.scrollTop = list.scrollHeight; };
  for (const media of list.querySelectorAll("img, video")) {
    for (const event of ["load", "loadedmetadata"]) media.addEventListener(event, down);
  }
  down();
}

function failed(error) {
  element("status").textContent = error.message;
}

function take(room, event) {
  const { type, content } = event;
  if (type === "m.room.name") room.name = content.name;
  if (type === "m.room.member" && content.displayname) room.names.set(event.state_key, content.displayname);
  if ((type === "m.room.message" || type === "m.sticker") && event.state_key === undefined) room.shown.push(event);
  if (type === "m.room.redaction") {
    const original = room.shown.find((other) => other.event_id === (content.redacts ?? event.redacts));
    if (original) original.content = {};
  }
}

function title(room) {
  const others = [...room.names].filter(([user]) => user !== session.user_id).map(([, name]) => name);
  return (room.name || others.join(", ") || "a room") + (room.invited ? " (invitation)" : "");
}

function list() {
  const chosen = element("room").value;
  const options = [...session.rooms].map(([id, room]) => new Option(title(room), id, false, id === chosen));
  element("room").replaceChildren(...options);
}

function news(rooms) {
  const known = (id) => {
    if (!session.rooms.has(id)) session.rooms.set(id, { names: new Map(), shown: [] });
    return session.rooms.get(id);
  };
  for (const [id, change] of Object.entries(rooms?.invite ?? {})) {
    known(id).invited = true;
    for (const event of change.invite_state?.events ?? []) take(known(id), event);
  }
  for (const [id, change] of Object.entries(rooms?.join ?? {})) {
    known(id).invited = false;
    for (const event of [...(change.state?.events ?? []), ...(change.timeline?.events ?? [])]) take(known(id), event);
  }
  for (const id of Object.keys(rooms?.leave ?? {})) session.rooms.delete(id);
  if (!rooms) return;
  list();
  show();
}

async function follow(mine) {
  const filter = JSON.stringify({
    presence: { types: [] },
    account_data: { types: [] },
    room: { timeline: { limit: 100 }, ephemeral: { types: [] } },
  });
  let since = "";
  while (mine === session) {
    try {
      const query = new URLSearchParams({ filter, timeout: since ? "30000" : "0" });
      if (since) query.set("since", since);
      const answer = await call("GET", `/sync?${query}`);
      if (mine !== session) return;
      since = answer.next_batch;
      news(answer.rooms);
      element("status").textContent = "";
    } catch (error) {
      if (mine !== session) return;
      failed(new Error(`Not connected: ${error.message}`));
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

function become(user) {
  session?.ended.abort();
  session = { ...user, rooms: new Map(), ended: new AbortController() };
  list();
  show();
  follow(session);
}

async function send(event) {
  event.preventDefault();
  const field = element("text");
  const body = field.value.trim();
  if (!body) return;
  // At once: what is typed while this is on its way is the next message's.
  field.value = "";
  sent += 1;
  const transaction = `page-${Date.now()}-${sent}`;
  const room = encodeURIComponent(element("room").value);
  try {
    await call("PUT", `/rooms/${room}/send/m.room.message/${transaction}`, { msgtype: "m.text", body });
    element("status").textContent = "";
  } catch (error) {
    field.value ||= body;
    failed(new Error(`Not sent: ${error.message}`));
  }
}

async function start() {
  const { users } = await (await fetch("settings.json")).json();
  element("user").append(...users.map(({ user_id }) => new Option(user_id, user_id)));
  element("user").addEventListener("change", () => become(users.find(({ user_id }) => user_id === element("user").value)));
  element("room").addEventListener("change", show);
  element("form").addEventListener("submit", send);
  window.addEventListener("resize", show);
  become(users[0]);
}

start().catch(failed);
