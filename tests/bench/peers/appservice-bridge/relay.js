// A small bridge between Matrix and DingTalk with matrix-appservice-bridge, to be measured.
"use strict";

const { createHmac, timingSafeEqual } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { Bridge, MatrixUser } = require("matrix-appservice-bridge");

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const chatOf = new Map(Object.entries(config.chats).map(([chat, room]) => [room, chat]));
/** Names that were set, so that each is set once. */
const named = new Map();
let token;

const bridge = new Bridge({
  homeserverUrl: config.homeserver,
  domain: config.server_name,
  registration: config.registration,
  disableStores: true,
  // One event of a room after the other, or a chat would lose its order.
  queue: { type: "per_room", perRequest: true },
  controller: {
    onUserQuery: () => null,
    onEvent: (request) => request.outcomeFrom(toDingTalk(request.getData())),
  },
});

/** Calls DingTalk's API. */
async function call(path, body) {
  const headers = { "content-type": "application/json" };
  if (token) headers["x-acs-dingtalk-access-token"] = token;
  const answer = await fetch(config.dingtalk + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`DingTalk answers ${answer.status}: ${await answer.text()}`);
  return answer.json();
}

async function toDingTalk(event) {
  const chat = chatOf.get(event.room_id);
  if (event.type !== "m.room.message" || !chat) return;
  const name = new MatrixUser(event.sender).localpart;
  await call("/v1.0/robot/groupMessages/send", {
    robotCode: config.app_key,
    openConversationId: chat,
    msgKey: "sampleText",
    msgParam: JSON.stringify({ content: `[@${name} via Matrix] ${event.content.body}` }),
  });
}

async function toMatrix(callback) {
  const user = `@${config.ghosts}${callback.senderStaffId}:${config.server_name}`;
  const intent = bridge.getIntent(user);
  if (named.get(user) !== callback.senderNick) {
    await intent.setDisplayName(callback.senderNick);
    named.set(user, callback.senderNick);
  }
  await intent.sendText(config.chats[callback.conversationId], callback.text.content.trim());
}

/** Whether DingTalk is speaking, and lately. */
function isSigned({ timestamp = "", sign = "" }) {
  const mac = createHmac("sha256", config.app_secret).update(`${timestamp}\n${config.app_secret}`);
  const [ours, theirs] = [Buffer.from(mac.digest("base64")), Buffer.from(sign)];
  const isFresh = Math.abs(Date.now() - Number(timestamp)) < 3_600_000;
  return isFresh && ours.length === theirs.length && timingSafeEqual(ours, theirs);
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

async function answer(request) {
  if (request.url === "/ready") return 200;
  const body = await read(request);
  if (!isSigned(request.headers)) return 403;
  if (!(body.conversationId in config.chats)) return 404;
  await toMatrix(body);
  return 200;
}

async function main() {
  token = (
    await call("/v1.0/oauth2/accessToken", { appKey: config.app_key, appSecret: config.app_secret })
  ).accessToken;
  await bridge.initialise();
  await bridge.listen(config.matrix_port, "127.0.0.1");
  createServer(async (request, response) => {
    response.statusCode = await answer(request).catch((error) => (console.error(error), 500));
    response.end();
  }).listen(config.dingtalk_port, "127.0.0.1");
}

main();
