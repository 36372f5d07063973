"""A small bridge between Matrix and DingTalk with mautrix for Python, to be measured."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import sys
import time
from collections import defaultdict

from aiohttp import ClientSession, web
from mautrix.appservice import AppService
from mautrix.types import EventType, MessageEvent, UserID


class Relay:
    def __init__(self, config: dict, session: ClientSession) -> None:
        self.config = config
        self.session = session
        self.chat_of = {room: chat for chat, room in config["chats"].items()}
        # One event of a room after the other, or a chat would lose its order.
        self.turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Names that were set, so that each is set once.
        self.named: dict[str, str] = {}
        self.token = ""
        self.appservice = AppService(
            server=config["homeserver"],
            domain=config["server_name"],
            as_token=config["as_token"],
            hs_token=config["hs_token"],
            bot_localpart=config["bot"],
            id="peer",
        )
        self.appservice.matrix_event_handler(self.to_dingtalk)

    async def call(self, path: str, body: dict) -> dict:
        """Calls DingTalk's API."""
        headers = {"x-acs-dingtalk-access-token": self.token} if self.token else {}
        url = self.config["dingtalk"] + path
        async with self.session.post(url, json=body, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def to_dingtalk(self, event: MessageEvent) -> None:
        if event.type != EventType.ROOM_MESSAGE or self.is_ours(event.sender):
            return
        chat = self.chat_of.get(event.room_id)
        if chat is None:
            return
        name = event.sender[1:].split(":", 1)[0]
        text = {"content": f"[@{name} via Matrix] {event.content.body}"}
        async with self.turns[chat]:
            await self.call(
                "/v1.0/robot/groupMessages/send",
                {
                    "robotCode": self.config["app_key"],
                    "openConversationId": chat,
                    "msgKey": "sampleText",
                    "msgParam": json.dumps(text, ensure_ascii=False),
                },
            )

    def is_ours(self, user: UserID) -> bool:
        return user.startswith("@" + self.config["ghosts"]) or user == self.appservice.bot_mxid

    async def to_matrix(self, callback: dict) -> None:
        ghosts, server = self.config["ghosts"], self.config["server_name"]
        user = UserID(f"@{ghosts}{callback['senderStaffId']}:{server}")
        intent = self.appservice.intent.user(user)
        name = callback["senderNick"]
        if self.named.get(user) != name:
            await intent.set_displayname(name)
            self.named[user] = name
        room = self.config["chats"][callback["conversationId"]]
        await intent.send_text(room, callback["text"]["content"].strip())

    def is_signed(self, headers) -> bool:
        """Whether DingTalk is speaking, and lately."""
        timestamp, secret = headers.get("timestamp", ""), self.config["app_secret"]
        mac = hmac.digest(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256)
        fresh = timestamp.isdecimal() and abs(time.time() * 1000 - int(timestamp)) < 3_600_000
        return fresh and hmac.compare_digest(base64.b64encode(mac).decode(), headers.get("sign", ""))

    async def callback(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not self.is_signed(request.headers):
            return web.Response(status=403)
        if body["conversationId"] not in self.config["chats"]:
            return web.Response(status=404)
        await self.to_matrix(body)
        return web.Response()

    async def ready(self, _: web.Request) -> web.Response:
        return web.Response()

    async def run(self) -> None:
        config = self.config
        login = {"appKey": config["app_key"], "appSecret": config["app_secret"]}
        self.token = (await self.call("/v1.0/oauth2/accessToken", login))["accessToken"]
        await self.appservice.start("127.0.0.1", config["matrix_port"])
        app = web.Application()
        app.router.add_post("/bridges/dingtalk/webhook", self.callback)
        app.router.add_get("/ready", self.ready)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", config["dingtalk_port"]).start()
        await asyncio.Event().wait()


async def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    async with ClientSession() as session:
        await Relay(config, session).run()


logging.basicConfig(level=logging.WARNING)
asyncio.run(main())
