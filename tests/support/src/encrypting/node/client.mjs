// A Matrix client that encrypts (matrix-js-sdk, which Element Web is built on), told what to do over HTTP by a test.
//
// Usage: client.mjs HOMESERVER USER PASSWORD FOLDER, which it needs nothing of: its keys live as long as it does.
// Prints {"port": N, "device": ID} when it has logged in and synchronised once. Each request is POST / with a JSON object
// whose "do" is one of the functions below; the answer is what it returns, or {"error": text} with status 500.

import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

// Standard output is for the test.
console.log = console.error;
console.info = console.error;
console.debug = () => {};
const sdk = await import("matrix-js-sdk");

const [homeserver, user, password] = process.argv.slice(2);
const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
const base64 = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function logIn() {
    const answer = await fetch(`${homeserver}/_matrix/client/v3/login`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user }, password }),
    });
    if (!answer.ok) throw new Error(`no login: ${answer.status} ${await answer.text()}`);
    return answer.json();
}

const account = await logIn();
const client = sdk.createClient({
    baseUrl: homeserver,
    userId: account.user_id,
    deviceId: account.device_id,
    accessToken: account.access_token,
});
await client.initRustCrypto({ useIndexedDB: false });
const seen = [];
client.on(sdk.RoomEvent.Timeline, (event, room, toStart) => {
    if (!toStart && ["m.room.message", "m.room.encrypted"].includes(event.getType())) seen.push(event);
});
await client.startClient({ initialSyncLimit: 100, pendingEventOrdering: sdk.PendingEventOrdering.Detached });
while (!client.isInitialSyncComplete()) await pause(20);

// What is said in a room that is not yet known to be encrypted would go in the clear.
const knownAsEncrypted = (room) => client.getCrypto().isEncryptionEnabledInRoom(room);

async function upload(bytes) {
    const [key, iv] = [randomBytes(32), Buffer.concat([randomBytes(8), Buffer.alloc(8)])];
    const sealed = createCipheriv("aes-256-ctr", key, iv).update(bytes);
    const { content_uri: url } = await client.uploadContent(new Blob([sealed]), {
        type: "application/octet-stream",
        includeFilename: false,
    });
    return {
        v: "v2",
        url,
        key: { kty: "oct", key_ops: ["encrypt", "decrypt"], alg: "A256CTR", ext: true, k: key.toString("base64url") },
        iv: base64(iv),
        hashes: { sha256: base64(createHash("sha256").update(sealed).digest()) },
    };
}

const person = {
    async create({ invite, encrypted = true, direct = false }) {
        // Who is invited here may do what a moderator may.
        const power = { users_default: 50, invite: 50, events: { "m.room.encryption": 50 } };
        const { room_id: room } = await client.createRoom({
            invite,
            is_direct: direct,
            initial_state: encrypted ? [encryption] : [],
            power_level_content_override: direct ? {} : power,
        });
        while (encrypted && !(await knownAsEncrypted(room))) await pause(20);
        return { room };
    },

    async encrypt({ room }) {
        await client.sendStateEvent(room, encryption.type, encryption.content, "");
        while (!(await knownAsEncrypted(room))) await pause(20);
        return {};
    },

    async join({ room }) {
        await client.joinRoom(room);
        return {};
    },

    // What is said next is encrypted with a key that nobody has yet.
    async renew({ room }) {
        await client.getCrypto().forceDiscardSession(room);
        return {};
    },

    // What is said again under the same transaction id is one event.
    async say({ room, content, txn }) {
        const answer = await client.sendEvent(room, "m.room.message", content, txn ?? client.makeTxnId());
        return { event: answer.event_id };
    },

    async encrypted({ room }) {
        return { encrypted: await knownAsEncrypted(room) };
    },

    async send_file({ room, path, name, mime, kind, caption, txn }) {
        const bytes = await readFile(path);
        const content = {
            msgtype: kind,
            body: caption ?? name,
            filename: name,
            info: { size: bytes.length, mimetype: mime },
            file: await upload(bytes),
        };
        return person.say({ room, content, txn });
    },

    // The plaintext of an encrypted file, as text of hexadecimal digits.
    async fetch({ content }) {
        const { url, key, iv, hashes } = content.file;
        const place = client.mxcUrlToHttp(url, undefined, undefined, undefined, false, true, true);
        const answer = await fetch(place, { headers: { authorization: `Bearer ${client.getAccessToken()}` } });
        const sealed = Buffer.from(await answer.arrayBuffer());
        const digest = base64(createHash("sha256").update(sealed).digest());
        if (!answer.ok || digest !== hashes.sha256.replace(/=+$/, "")) throw new Error(`${answer.status} ${digest}`);
        const opened = createDecipheriv("aes-256-ctr", Buffer.from(key.k, "base64url"), Buffer.from(iv, "base64"));
        return { hex: opened.update(sealed).toString("hex") };
    },

    async members({ room }) {
        const known = client.getRoom(room)?.getJoinedMembers() ?? [];
        return { members: known.map((member) => member.userId).sort() };
    },

    async events({ room }) {
        const events = seen.filter((event) => event.getRoomId() === room).map((event) => {
            const unreadable = event.isEncrypted() && event.getClearContent() === null;
            return {
                room,
                type: unreadable || event.isDecryptionFailure() ? "m.room.encrypted" : "m.room.message",
                event_id: event.getId(),
                sender: event.getSender(),
                decrypted: event.isEncrypted() && !unreadable && !event.isDecryptionFailure(),
                unreadable: unreadable || event.isDecryptionFailure(),
                content: event.getOriginalContent(),
            };
        });
        return { events };
    },
};

const server = createServer(async (request, answer) => {
    let [status, said] = [200, {}];
    try {
        let body = "";
        for await (const part of request) body += part;
        const { do: name, ...command } = JSON.parse(body);
        said = await person[name](command);
    } catch (error) {
        // The test shows it.
        [status, said] = [500, { error: String(error?.stack ?? error) }];
    }
    answer.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(said));
});
server.listen(0, "127.0.0.1", () => {
    process.stdout.write(`${JSON.stringify({ port: server.address().port, device: account.device_id })}\n`);
});
