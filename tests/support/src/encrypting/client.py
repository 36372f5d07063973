"""A Matrix client that encrypts (matrix-nio), told what to do over HTTP by a test.

Usage: client.py HOMESERVER USER PASSWORD FOLDER
Prints {"port": N} when it has logged in and synchronised once. Each request is POST / with a JSON object whose "do" is
one of the functions below; the answer is what it returns, or {"error": text} with status 500.
"""

import asyncio
import io
import json
import logging
import sys

from aiohttp import web
from nio import (
    AsyncClient,
    AsyncClientConfig,
    EnableEncryptionBuilder,
    MegolmEvent,
    RoomMessage,
)
from nio.crypto.attachments import decrypt_attachment


class Person:
    def __init__(self, client):
        self.client = client
        self.seen = []

    async def create(self, invite, encrypted=True, direct=False):
        state = [EnableEncryptionBuilder().as_dict()] if encrypted else []
        # Who is invited here may do what a moderator may.
        power = {"users_default": 50, "invite": 50, "events": {"m.room.encryption": 50}}
        answer = await self.client.room_create(
            invite=invite,
            is_direct=direct,
            initial_state=state,
            power_level_override={} if direct else power,
        )
        return {"room": answer.room_id}

    async def encrypt(self, room):
        content = EnableEncryptionBuilder().as_dict()
        await self.client.room_put_state(room, content["type"], content["content"])
        while not self.client.rooms[room].encrypted:
            await asyncio.sleep(0.05)
        return {}

    async def join(self, room):
        await self.client.join(room)
        return {}

    async def renew(self, room):
        """What is said next is encrypted with a key that nobody has yet."""
        self.client.invalidate_outbound_session(room)
        return {}

    async def say(self, room, content, txn=None):
        # Whoever wants to be read waits until the others are in the room and their devices are known. What is said
        # again under the same transaction id is one event.
        answer = await self.client.room_send(
            room, "m.room.message", content, txn, ignore_unverified_devices=True
        )
        return {"event": answer.event_id}

    async def encrypted(self, room):
        known = self.client.rooms.get(room)
        return {"encrypted": bool(known and known.encrypted)}

    async def send_file(self, room, path, name, mime, kind, caption=None, txn=None):
        with open(path, "rb") as file:
            data = file.read()
        answer, keys = await self.client.upload(
            io.BytesIO(data),
            content_type=mime,
            filename=name,
            encrypt=True,
            filesize=len(data),
        )
        content = {
            "msgtype": kind,
            "body": caption or name,
            "filename": name,
            "info": {"size": len(data), "mimetype": mime},
            "file": {**keys, "url": answer.content_uri, "mimetype": mime},
        }
        return await self.say(room, content, txn)

    async def fetch(self, content):
        """The plaintext of an encrypted file, as text of hexadecimal digits."""
        file = content["file"]
        answer = await self.client.download(file["url"])
        data = decrypt_attachment(
            answer.body, file["key"]["k"], file["hashes"]["sha256"], file["iv"]
        )
        return {"hex": data.hex()}

    async def members(self, room):
        known = self.client.rooms.get(room)
        return {"members": sorted(known.users) if known else []}

    async def events(self, room):
        return {"events": [event for event in self.seen if event["room"] == room]}

    async def on_event(self, room, event):
        self.seen.append(
            {
                "room": room.room_id,
                "type": "m.room.encrypted"
                if isinstance(event, MegolmEvent)
                else "m.room.message",
                "event_id": event.event_id,
                "sender": event.sender,
                "decrypted": bool(getattr(event, "decrypted", False)),
                "unreadable": isinstance(event, MegolmEvent),
                "content": event.source.get("content", {}),
            }
        )


def keep_first_keys(olm):
    """Whoever renews an Olm session is given the keys of rooms again, from the next message on. nio lets such a key replace
    the one that it has; other clients keep the one that reads more."""
    create = olm.create_group_session

    def create_unknown(sender_key, sender_fp_key, room_id, session_id, session_key):
        if olm.inbound_group_store.get(room_id, sender_key, session_id) is None:
            create(sender_key, sender_fp_key, room_id, session_id, session_key)

    olm.create_group_session = create_unknown


async def main(homeserver, user, password, folder):
    # What it could not decrypt, and why, stands in its log.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    # A homeserver that is away is asked again soon.
    config = AsyncClientConfig(
        encryption_enabled=True,
        store_sync_tokens=True,
        backoff_factor=0.05,
        max_timeout_retry_wait_time=1,
    )
    client = AsyncClient(homeserver, user, store_path=folder, config=config)
    login = await client.login(password)
    if not client.access_token:
        raise SystemExit(f"no login: {login}")
    keep_first_keys(client.olm)
    person = Person(client)
    for kind in (RoomMessage, MegolmEvent):
        client.add_event_callback(person.on_event, kind)
    await client.sync(timeout=0, full_state=True)
    # Whoever looks for the device from here on finds it with its keys.
    if client.should_upload_keys:
        await client.keys_upload()

    async def handle(request):
        command = await request.json()
        try:
            return web.json_response(await getattr(person, command.pop("do"))(**command))
        except Exception as error:  # the test shows it
            return web.json_response({"error": repr(error)}, status=500)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"port": port, "device": client.device_id}), flush=True)
    # Of what came while the client was away nothing is left out.
    everything = {"room": {"timeline": {"limit": 1000}}}
    await client.sync_forever(
        timeout=10000, sync_filter=everything, full_state=True, loop_sleep_time=20
    )


asyncio.run(main(*sys.argv[1:]))
