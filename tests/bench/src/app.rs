//! The DingTalk app of the measurements: who it is, and how its callbacks look.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

pub(crate) const APP_KEY: &str = "dingbench0000000001";
pub(crate) const APP_SECRET: &str = "bench-secret-0123456789abcdefghijklmnopqrstuvwxyz";
pub(crate) const AGENT_ID: u64 = 3_000_000_001;
pub(crate) const CORP_ID: &str = "dingbench0123456789abcdef";
pub(crate) const TOKEN: &str = "b0e1c2d3a4958677b0e1c2d3a4958677";

/// People who write in each chat.
pub(crate) const PEOPLE_PER_CHAT: u32 = 5;

/// DingTalk's id of a chat.
pub(crate) fn chat_id(chat: u32) -> String {
    format!("cidBench{chat:04}AbCdEfGhIj==")
}

/// The staff id of who writes a message.
pub(crate) fn staff_id(chat: u32, number: u32) -> String {
    format!("bench{}", chat * PEOPLE_PER_CHAT + number % PEOPLE_PER_CHAT)
}

/// A signed callback of the bot.
pub(crate) struct Callback<'a> {
    pub(crate) run: u32,
    pub(crate) chat: u32,
    pub(crate) number: u32,
    pub(crate) text: &'a str,
    pub(crate) now_us: u64,
    /// Base of the address to reply to.
    pub(crate) dingtalk: &'a str,
    pub(crate) host: &'a str,
}

impl Callback<'_> {
    /// The whole request with its headers, as DingTalk sends it.
    pub(crate) fn request(&self) -> Vec<u8> {
        let body = self.body();
        let timestamp = (self.now_us / 1000).to_string();
        let head = format!(
            "POST /bridges/dingtalk/webhook HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json; charset=utf-8\r\n\
             Accept: */*\r\ntimestamp: {timestamp}\r\nsign: {}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            sign(&timestamp),
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body.as_bytes());
        request
    }

    fn body(&self) -> String {
        let Self { run, chat, number, text, now_us, dingtalk, .. } = self;
        let now = now_us / 1000;
        let person = chat * PEOPLE_PER_CHAT + number % PEOPLE_PER_CHAT;
        let staff = staff_id(*chat, *number);
        let chat_id = chat_id(*chat);
        let expires = now + 90 * 60 * 1000;
        // No text in it needs escapes.
        format!(
            r#"{{"senderPlatform":"Mac","conversationId":"{chat_id}","atUsers":[{{"dingtalkId":"$:LWCP_v1:$bot"}}],"chatbotCorpId":"{CORP_ID}","chatbotUserId":"$:LWCP_v1:$bot","msgId":"msgBench{run}x{chat}x{number}==","senderNick":"同事 {person}","isAdmin":false,"senderStaffId":"{staff}","senderCorpId":"{CORP_ID}","sessionWebhookExpiredTime":{expires},"createAt":{now},"conversationType":"2","senderId":"$:LWCP_v1:${staff}","conversationTitle":"项目 {chat}","isInAtList":true,"sessionWebhook":"{dingtalk}/robot/sendBySession?session=s{chat}","text":{{"content":" {text}"}},"robotCode":"{APP_KEY}","msgtype":"text"}}"#
        )
    }
}

fn sign(timestamp: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(APP_SECRET.as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(timestamp.as_bytes());
    mac.update(b"\n");
    mac.update(APP_SECRET.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
