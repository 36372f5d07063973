//! The sentences about how DingTalk's messages come, in both languages.

use std::time::Duration;

use super::age;
use crate::receive::Receive;

/// How the Stream connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLine {
    /// Whether it stands.
    pub connected: bool,
    /// For how long it stands, or does not.
    pub lasting: Duration,
    /// How long ago something last came, be it a sign of life.
    pub last_frame: Option<Duration>,
    /// Stable code of why it does not stand.
    pub problem: Option<String>,
}

/// By which way messages come, and whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceivingLine {
    /// The way.
    pub receive: Receive,
    /// The connection, where one is wanted.
    pub stream: Option<StreamLine>,
}

/// What is wrong with DingTalk's subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceLine {
    /// Nothing has come for so long.
    Quiet(Duration),
    /// Nothing has come since the app was linked, so long ago.
    Never(Duration),
    /// DingTalk says that there is no subscription.
    Gone,
}

pub(super) fn outage_en(lasting: Duration) -> String {
    format!(
        "⚠ For about {} DingTalk could not reach the bridge. Messages to this chat from that time may be lost: DingTalk \
         does not repeat them for so long. Please ask your colleagues to send what is important again.",
        age(lasting)
    )
}

pub(super) fn outage_zh(lasting: Duration) -> String {
    format!(
        "⚠ 约有 {} 钉钉无法连通本桥接，这段时间发到本会话的消息可能已丢失：钉钉不会在这么久之后重发。请让同事重发重要内容。",
        age(lasting)
    )
}

/// What an admin can do about it.
const LOOK_EN: &str = "Look in DingTalk's console under event subscription: is it switched on, and is the address the one \
     that webhook shows? DingTalk sometimes pauses subscriptions silently after a longer downtime; saving the address \
     again wakes them. The bot's message address is on the bot's page. If everybody was away, all is well.";

const LOOK_ZH: &str = "请在钉钉开发者后台查看“事件订阅”：是否已开启，地址是否为 webhook 命令显示的地址？长时间停机后钉钉有时会静默暂停订阅，\
     重新保存地址即可恢复。机器人的消息接收地址在机器人页面。若大家都在休假，则一切正常。";

pub(super) fn silent_en(line: SilenceLine) -> String {
    let what = match line {
        SilenceLine::Quiet(lasting) => format!("Nothing has come from DingTalk for {}.", age(lasting)),
        SilenceLine::Never(lasting) => {
            format!("Nothing has ever come from DingTalk since the app was linked {} ago.", age(lasting))
        }
        SilenceLine::Gone => "DingTalk says that this app has no event subscription.".to_owned(),
    };
    format!("⚠ {what} {LOOK_EN}")
}

pub(super) fn silent_zh(line: SilenceLine) -> String {
    let what = match line {
        SilenceLine::Quiet(lasting) => format!("已有 {} 未收到钉钉的任何消息。", age(lasting)),
        SilenceLine::Never(lasting) => {
            format!("自 {} 前绑定应用以来，从未收到钉钉的任何消息。", age(lasting))
        }
        SilenceLine::Gone => "钉钉称此应用没有事件订阅。".to_owned(),
    };
    format!("⚠ {what}{LOOK_ZH}")
}

fn reason_en(code: &str) -> &str {
    match code {
        "connecting" => "connecting",
        "authFailed" => "DingTalk refuses AppKey and AppSecret",
        "bridge.addressNotAllowed" => "DingTalk named an address that is not its own",
        "bridge.notConnected" => "DingTalk cannot be reached",
        "connection_dead" => "nothing was heard from DingTalk any more",
        "connection_closed" | "connection_broken" | "connection_left" => "the connection was closed",
        other => other,
    }
}

fn reason_zh(code: &str) -> &str {
    match code {
        "connecting" => "正在连接",
        "authFailed" => "钉钉拒绝 AppKey 与 AppSecret",
        "bridge.addressNotAllowed" => "钉钉给出的地址不属于钉钉",
        "bridge.notConnected" => "无法连接钉钉",
        "connection_dead" => "不再收到钉钉的任何数据",
        "connection_closed" | "connection_broken" | "connection_left" => "连接已关闭",
        other => other,
    }
}

/// The line of `status`.
pub(super) fn status_en(line: &ReceivingLine, webhook: Option<&str>) -> String {
    let address =
        webhook.map_or_else(|| ", public address not configured".to_owned(), |url| format!(" {url}"));
    match line.receive {
        Receive::Webhook => format!("webhook{address}"),
        Receive::Stream => format!("Stream{}", state_en(line)),
        Receive::Both => format!("webhook{address}; Stream{}", state_en(line)),
    }
}

fn state_en(line: &ReceivingLine) -> String {
    match &line.stream {
        None => String::new(),
        Some(stream) if stream.connected => {
            let heard = stream.last_frame.map(|ago| format!(", last sign of life {} ago", age(ago)));
            format!(", connected for {}{}", age(stream.lasting), heard.unwrap_or_default())
        }
        Some(stream) => {
            let problem = stream.problem.as_deref().unwrap_or("connecting");
            format!(", not connected for {} – {}", age(stream.lasting), reason_en(problem))
        }
    }
}

/// The line of `status`.
pub(super) fn status_zh(line: &ReceivingLine, webhook: Option<&str>) -> String {
    let address = webhook.map_or_else(|| "，未配置公网地址".to_owned(), |url| format!(" {url}"));
    match line.receive {
        Receive::Webhook => format!("回调{address}"),
        Receive::Stream => format!("Stream 长连接{}", state_zh(line)),
        Receive::Both => format!("回调{address}；Stream 长连接{}", state_zh(line)),
    }
}

fn state_zh(line: &ReceivingLine) -> String {
    match &line.stream {
        None => String::new(),
        Some(stream) if stream.connected => {
            let heard = stream.last_frame.map(|ago| format!("，{} 前有数据", age(ago)));
            format!("，已连接 {}{}", age(stream.lasting), heard.unwrap_or_default())
        }
        Some(stream) => {
            let problem = stream.problem.as_deref().unwrap_or("connecting");
            format!("，{} 未连接 – {}", age(stream.lasting), reason_zh(problem))
        }
    }
}

pub(super) fn answer_en(line: &ReceivingLine) -> String {
    let steps = match line.receive {
        Receive::Webhook => {
            "stream on opens a Stream connection as well: it needs no public address. Then choose Stream mode in \
             DingTalk's console, and at last send stream only."
        }
        Receive::Both => {
            "Now choose Stream mode in DingTalk's console: on the bot's page under message receiving mode, and under \
             event subscription as push mode. When messages come that way, send stream only. To go back, choose HTTP \
             there and send stream off."
        }
        Receive::Stream => {
            "Pushes to the webhook are refused. In DingTalk's console Stream mode must be chosen on the bot's page \
             and under event subscription. To go back, send stream on, choose HTTP there, then send stream off."
        }
    };
    let way = match line.receive {
        Receive::Webhook => "by webhook",
        Receive::Stream => "by Stream",
        Receive::Both => "by webhook and by Stream",
    };
    format!("Messages from DingTalk come {way}{}.\n{steps}", state_en(line))
}

pub(super) fn answer_zh(line: &ReceivingLine) -> String {
    let steps = match line.receive {
        Receive::Webhook => {
            "stream on 会另外建立 Stream 长连接，无需公网地址。随后在钉钉开发者后台选择 Stream 模式，最后发送 stream only。"
        }
        Receive::Both => {
            "请在钉钉开发者后台选择 Stream 模式：机器人页面的“消息接收模式”，以及“事件订阅”的推送方式。消息改由该方式到达后，\
             发送 stream only。若要改回，请在后台选择 HTTP 模式并发送 stream off。"
        }
        Receive::Stream => {
            "发往回调地址的推送会被拒绝。钉钉开发者后台的机器人页面与“事件订阅”须选择 Stream 模式。若要改回，先发送 \
             stream on，在后台选择 HTTP 模式，再发送 stream off。"
        }
    };
    let way = match line.receive {
        Receive::Webhook => "HTTP 回调",
        Receive::Stream => "Stream 长连接",
        Receive::Both => "HTTP 回调与 Stream 长连接",
    };
    format!("钉钉消息的接收方式：{way}{}。\n{steps}", state_zh(line))
}

pub(super) fn next_en(receive: Receive) -> &'static str {
    match receive {
        Receive::Stream => "\nNext: choose Stream mode in DingTalk's console; stream tells where.",
        Receive::Webhook | Receive::Both => {
            "\nNext: send webhook and paste what it shows into DingTalk's console."
        }
    }
}

pub(super) fn next_zh(receive: Receive) -> &'static str {
    match receive {
        Receive::Stream => "\n下一步：在钉钉开发者后台选择 Stream 模式；发送 stream 查看位置。",
        Receive::Webhook | Receive::Both => "\n下一步：发送 webhook，把显示的内容填入钉钉开发者后台。",
    }
}

pub(super) fn nothing_yet_en(receive: Receive) -> &'static str {
    match receive {
        Receive::Stream => "none yet – is Stream mode chosen in its console?",
        Receive::Webhook | Receive::Both => "none yet – is the webhook address saved in its console?",
    }
}

pub(super) fn nothing_yet_zh(receive: Receive) -> &'static str {
    match receive {
        Receive::Stream => "尚无 – 是否已在钉钉后台选择 Stream 模式？",
        Receive::Webhook | Receive::Both => "尚无 – 是否已在钉钉后台保存回调地址？",
    }
}
