// A Matrix client as small as can be: one user, the bridged rooms, text only. What comes from others is shown by
// textContent alone.
"use strict";

const element = (id) => document.getElementById(id);
const rooms = new Map(); // room id -> { names: Map(user -> name), shown: [event] }
let settings;
let sent = 0;

async function call(method, path, body) {
  const answer = await fetch(`/_matrix/client/v3${path}`, {
    method,
    headers: { Authorization: `Bearer ${settings.access_token}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.error || `the homeserver answered ${answer.status}`);
  return json;
}

function line(room, event) {
  const item = document.createElement("li");
  const sender = document.createElement("span");
  const time = new Date(event.origin_server_ts).toLocaleTimeString();
  const name = room.names.get(event.sender) || event.sender;
  sender.className = "sender";
  sender.textContent = `${name} · ${time}`;
  sender.title = event.sender;
  const text = document.createElement("span");
  const { msgtype, body } = event.content;
  text.textContent = body === undefined ? "(removed)" : msgtype === "m.emote" ? `* ${name} ${body}` : body;
  if (event.sender === settings.user_id) item.classList.add("own");
  if (msgtype === "m.notice") item.classList.add("notice");
  item.dataset.eventId = event.event_id;
  item.append(sender, text);
  return item;
}

function show() {
  const room = rooms.get(element("room").value);
  element("messages").replaceChildren(...room.shown.map((event) => line(room, event)));
  element("messages").lastElementChild?.scrollIntoView();
}

function take(room, event) {
  if (event.type === "m.room.member" && event.content.displayname) {
    room.names.set(event.state_key, event.content.displayname);
  }
  if (event.type === "m.room.message" && event.state_key === undefined) room.shown.push(event);
}

async function follow() {
  const filter = JSON.stringify({
    presence: { types: [] },
    account_data: { types: [] },
    room: { rooms: [...rooms.keys()], timeline: { limit: 100 }, ephemeral: { types: [] } },
  });
  let since = "";
  for (;;) {
    try {
      const query = new URLSearchParams({ filter, timeout: since ? "30000" : "0" });
      if (since) query.set("since", since);
      const news = await call("GET", `/sync?${query}`);
      since = news.next_batch;
      for (const [id, change] of Object.entries(news.rooms?.join ?? {})) {
        const room = rooms.get(id);
        if (!room) continue;
        for (const event of change.state?.events ?? []) take(room, event);
        for (const event of change.timeline?.events ?? []) take(room, event);
        if (id === element("room").value) show();
      }
      element("status").textContent = "";
    } catch (error) {
      element("status").textContent = `Not connected: ${error.message}`;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function send(event) {
  event.preventDefault();
  const body = element("text").value.trim();
  if (!body) return;
  sent += 1;
  const transaction = `page-${Date.now()}-${sent}`;
  const room = encodeURIComponent(element("room").value);
  try {
    await call("PUT", `/rooms/${room}/send/m.room.message/${transaction}`, { msgtype: "m.text", body });
    element("text").value = "";
    element("status").textContent = "";
  } catch (error) {
    element("status").textContent = `Not sent: ${error.message}`;
  }
}

async function start() {
  settings = await (await fetch("settings.json")).json();
  element("user").textContent = settings.user_id;
  for (const { room_id, title } of settings.rooms) {
    rooms.set(room_id, { names: new Map(), shown: [] });
    element("room").append(new Option(title, room_id));
  }
  element("room").addEventListener("change", show);
  element("form").addEventListener("submit", send);
  await follow();
}

start().catch((error) => {
  element("status").textContent = error.message;
});
