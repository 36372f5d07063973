// What messages look like: text with mentions, Markdown, pictures, files, voices, cards. Whatever people and bridges
// wrote becomes text nodes and attributes that were looked at; never markup.
"use strict";
const names = new Map();

const node = (tag, kind, text) => {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
};
const within = (tag, kind, parts) => {
  const element = node(tag, kind);
  element.append(...parts);
  return element;
};
const isWeb = (url) => /^https?:\/\//.test(url);
const upload = (id) => "/_sandbox/media/" + encodeURIComponent(id);
const attached = (code) => "/_sandbox/files?code=" + encodeURIComponent(code);
const anchor = (url, parts) => {
  const element = within("a", "", parts);
  element.href = url;
  element.target = "_blank";
  element.rel = "noopener noreferrer";
  return element;
};
const link = (url, text) => anchor(url, [text]);
const picture = (url, what) => {
  const element = node("img");
  element.src = url;
  element.alt = what;
  element.addEventListener("error", () => element.replaceWith(node("span", "dim", "[" + what + ": its bytes are not kept]")));
  return element;
};
const file = (url, name, kind) => {
  const element = anchor(url, [node("span", "kind", kind), node("span", "name", name)]);
  element.className = "file";
  element.download = name;
  return element;
};

// People who are mentioned: by name in what people write, by id in what bridges send.
const mentions = (text, ids) => {
  const marks = new Map([...names].map(([id, name]) => ["@" + name, name]));
  for (const id of ids) marks.set("@" + id, names.get(id) || id);
  const found = [...marks.keys()].sort((a, b) => b.length - a.length);
  const pattern = found.map((mark) => mark.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  if (!pattern) return [document.createTextNode(text)];
  return text.split(new RegExp("(" + pattern + ")")).filter(Boolean)
    .map((part) => (marks.has(part) ? node("span", "mention", "@" + marks.get(part)) : document.createTextNode(part)));
};

// The Markdown that DingTalk documents: headings, quotes, bold, italic, links, images, lists.
const INLINE = /\\([^\w\s])|!\[([^\]]*)\]\(([^)\s]+)\)|\[((?:\\.|[^\]\\])*)\]\(((?:\\.|[^)\s\\])+)\)|\*\*((?:\\.|[^*\\])+)\*\*|\*((?:\\.|[^*\\])+)\*|`([^`]+)`/;
const inline = (text, ids) => {
  const parts = [];
  for (let rest = text; rest; ) {
    const match = INLINE.exec(rest);
    if (!match) {
      parts.push(...mentions(rest, ids));
      break;
    }
    if (match.index) parts.push(...mentions(rest.slice(0, match.index), ids));
    const [whole, escaped, alt, image, label, url, bold, italic, code] = match;
    const address = url?.replace(/\\(.)/g, "$1");
    if (escaped !== undefined) parts.push(document.createTextNode(escaped));
    else if (image !== undefined) parts.push(isWeb(image) ? link(image, alt || image) : picture(upload(image), alt || "picture"));
    else if (url !== undefined && isWeb(address)) parts.push(anchor(address, inline(label, ids)));
    else if (bold !== undefined) parts.push(within("strong", "", inline(bold, ids)));
    else if (italic !== undefined) parts.push(within("em", "", inline(italic, ids)));
    else if (code !== undefined) parts.push(node("code", "", code));
    else parts.push(document.createTextNode(whole));
    rest = rest.slice(match.index + whole.length);
  }
  return parts;
};
const KINDS = [["h3", /^#{1,6} +/], ["blockquote", /^> ?/], ["ul", /^[-*] +/], ["ol", /^\d+\. +/], ["p", /^/]];
const markdown = (text, ids) => {
  const blocks = [];
  let open;
  for (const line of text.split("\n").map((line) => line.trimEnd())) {
    if (!line) {
      open = undefined;
      continue;
    }
    const [tag, mark] = KINDS.find(([, mark]) => mark.test(line));
    const parts = inline(line.replace(mark, ""), ids);
    if (open?.tag !== tag || tag === "h3") {
      open = { tag, element: node(tag) };
      blocks.push(open.element);
    } else if (tag === "p" || tag === "blockquote") {
      open.element.append(node("br"));
    }
    open.element.append(...(tag === "ul" || tag === "ol" ? [within("li", "", parts)] : parts));
  }
  return blocks;
};
const plain = (text, ids) => [within("p", "", mentions(text, ids))];

const card = (title, text, buttons, ids) => {
  const element = within("div", "card", [node("strong", "", title), ...markdown(text || "", ids)]);
  const shown = buttons.filter(([, url]) => url).map(([label, url]) => (isWeb(url) ? link(url, label || url) : node("span", "dim", label)));
  if (shown.length) element.append(within("div", "buttons", shown));
  return element;
};
const voice = (url, ms, words) => {
  const parts = [file(url, "voice.amr", Math.round(ms / 1000) + " s voice")];
  if (words) parts.push(node("p", "", "“" + words + "”"));
  return parts;
};
const ending = (name) => (name.includes(".") ? name.split(".").pop().slice(0, 5) : "file");

// What a person wrote.
const ofMessage = ({ kind, content, text }) => {
  const c = content || {};
  const buttons = () => (c.actionUrlItemList || []).map((item) => [item.title, item.actionUrl]);
  switch (kind) {
    case "text": return plain(c.text ?? text, []);
    case "markdown": return markdown(c.text || "", []);
    case "picture": return [picture(attached(c.downloadCode), "picture"), ...plain(text.replace(/^\[picture\] ?/, ""), [])];
    case "richText":
      return (c.richText || []).flatMap((part) => (part.type === "picture" ? [picture(attached(part.downloadCode), "picture")] : plain(part.text || "", [])));
    case "audio": return voice(attached(c.downloadCode), c.duration, c.recognition);
    case "video": return [file(attached(c.downloadCode), "video." + (c.videoType || "mp4"), "video")];
    case "file": return [file(attached(c.downloadCode), c.fileName, ending(c.fileName || ""))];
    case "actionCard": return [card(c.title, c.text, buttons(), [])];
    case "interactiveCard": return [card(c.title, "", [["Open", c.biz_custom_action_url]], [])];
    case "chatRecord": return [card(c.title, c.summary, [], [])];
    default: return plain(text, []);
  }
};

// What a bridge sent: `msgParam` of the API, or the body of a webhook.
const ofSent = ({ msg_key, body, mentions: ids }) => {
  const b = (body && body[msg_key]) || body || {};
  const numbered = [1, 2, 3, 4, 5].flatMap((n) => [[b["actionTitle" + n], b["actionURL" + n]], [b["buttonTitle" + n], b["buttonUrl" + n]]]);
  switch (msg_key) {
    case "sampleText": case "text": return plain(b.content || "", ids);
    case "sampleMarkdown": case "markdown": return markdown(b.text || "", ids);
    case "sampleImageMsg": return [isWeb(b.photoURL) ? link(b.photoURL, b.photoURL) : picture(upload(b.photoURL), "picture")];
    case "sampleFile": return [file(upload(b.mediaId), b.fileName, b.fileType)];
    case "sampleAudio": return voice(upload(b.mediaId), b.duration, "");
    case "sampleVideo": {
      const element = node("video");
      Object.assign(element, { src: upload(b.videoMediaId), poster: upload(b.picMediaId), controls: true, preload: "metadata" });
      return [element];
    }
    case "sampleLink": case "link": return [card(b.title, b.text, [[b.title, b.messageUrl]], ids)];
    case "feedCard": return (b.links || []).map((item) => card(item.title, "", [[item.title, item.messageURL]], ids));
    default:
      if (/actionCard/i.test(msg_key)) {
        const more = (b.btns || []).map((button) => [button.title, button.actionURL]);
        return [card(b.title, b.text, [[b.singleTitle, b.singleURL], ...numbered, ...more], ids)];
      }
      return plain(JSON.stringify(body), ids);
  }
};

// One line of it.
const summary = (sent) => within("div", "", ofSent(sent)).textContent.trim() || "a picture or video";
