// What an event looks like: text, HTML of which only known tags stay, pictures, files, voices. Nothing that others
// wrote becomes markup here.
"use strict";

const node = (tag, kind, ...parts) => {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...parts);
  return element;
};

// Tags that are copied, without attributes; of others only what is in them.
const KEPT = new Set(["B", "BLOCKQUOTE", "BR", "CODE", "DEL", "EM", "H1", "H2", "H3", "H4", "H5", "H6", "HR", "I", "LI", "OL",
  "P", "PRE", "S", "STRONG", "U", "UL"]);

function copy(from) {
  if (from.nodeType === Node.TEXT_NODE) return [document.createTextNode(from.data)];
  if (from.nodeType !== Node.ELEMENT_NODE || from.tagName === "MX-REPLY") return [];
  const inside = [...from.childNodes].flatMap(copy);
  if (KEPT.has(from.tagName)) return [node(from.tagName, "", ...inside)];
  const address = from.tagName === "A" ? from.getAttribute("href") || "" : "";
  if (/^https:\/\/matrix\.to\/#\/(@|%40)/i.test(address)) return [node("span", "mention", "@" + from.textContent.replace(/^@/, ""))];
  if (!/^(https?|mailto):/i.test(address)) return inside;
  const link = node("a", "", ...inside);
  Object.assign(link, { href: address, target: "_blank", rel: "noopener noreferrer" });
  return [link];
}

const html = (text) => [...new DOMParser().parseFromString(text, "text/html").body.childNodes].flatMap(copy);

// Files are asked for with the user's token, so that an address alone opens nothing.
const files = new Map(); // mxc address -> promise of an address in this page
function fetched(mxc, token) {
  const [, server, id] = /^mxc:\/\/([^/]+)\/([^/]+)$/.exec(mxc) ?? [];
  if (!id) return Promise.reject(new Error("it has no address"));
  if (!files.has(mxc)) {
    const path = `/_matrix/client/v1/media/download/${encodeURIComponent(server)}/${encodeURIComponent(id)}`;
    const asked = fetch(path, { headers: { Authorization: `Bearer ${token}` } }).then(async (answer) => {
      if (!answer.ok) throw new Error(`the homeserver answered ${answer.status}`);
      return URL.createObjectURL(await answer.blob());
    });
    asked.catch(() => files.delete(mxc));
    files.set(mxc, asked);
  }
  return files.get(mxc);
}

const bytes = (size) => (size >= 1048576 ? `${(size / 1048576).toFixed(1)} MiB` : size >= 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${size} bytes`);

function file(content, token, kind) {
  const name = content.filename ?? content.body;
  const size = Number.isInteger(content.info?.size) ? ` · ${bytes(content.info.size)}` : "";
  const button = node("button", "file", node("span", "kind", kind), node("span", "", name + size));
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      const link = node("a", "");
      Object.assign(link, { href: await fetched(content.url, token), download: name });
      link.click();
    } catch (error) {
      button.append(` (${error.message})`);
    }
  });
  return button;
}

function media(tag, content, token) {
  const element = node(tag, "");
  if (tag === "img") element.alt = content.body;
  else element.controls = true;
  fetched(content.url, token).then((address) => { element.src = address; }, (error) => element.replaceWith(`[${content.body}: ${error.message}]`));
  return element;
}

function voice(content, token) {
  const kind = String(content.info?.mimetype);
  if (document.createElement("audio").canPlayType(kind)) return media("audio", content, token);
  const seconds = Math.round((content.info?.duration ?? 0) / 1000);
  return file(content, token, seconds ? `${seconds} s voice` : "voice");
}

// The parts of a message; a caption stands below its file.
function parts(event, name, token) {
  const { msgtype, body, formatted_body: formatted, filename } = event.content;
  const shown = typeof formatted === "string" ? node("div", "", ...html(formatted)) : node("span", "plain", String(body));
  const caption = filename !== undefined && filename !== body ? [shown] : [];
  if (event.type === "m.sticker" || msgtype === "m.image") return [media("img", event.content, token), ...caption];
  if (msgtype === "m.video") return [media("video", event.content, token), ...caption];
  if (msgtype === "m.audio") return [voice(event.content, token), ...caption];
  if (msgtype === "m.file") return [file(event.content, token, "file"), ...caption];
  return msgtype === "m.emote" ? [`* ${name} `, shown] : [shown];
}
