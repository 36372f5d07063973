//! The line of `status` about encrypted rooms, in both languages.

/// How encrypted rooms stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EncryptionLine {
    /// They are not wanted.
    #[default]
    Off,
    /// They are.
    On {
        /// Why they do not work; none is fine.
        problem: Option<String>,
        /// Chats that are bridged to encrypted rooms.
        chats: u64,
        /// The configuration has them off, and they are on for the sake of these chats.
        kept: bool,
        /// The bot's device and its fingerprint, for people who compare.
        device: (String, String),
    },
}

pub(super) fn status_en(line: &EncryptionLine) -> String {
    let EncryptionLine::On { problem, chats, kept, device: (device, fingerprint) } = line else {
        return "off".to_owned();
    };
    let state = problem.as_ref().map_or_else(|| "ok".to_owned(), |problem| format!("not ok – {problem}"));
    let kept = if *kept { " (off in the configuration, and kept on for them)" } else { "" };
    format!(
        "{state}; {chats} of the bridged chats{kept}; the bot's device {device}, fingerprint {fingerprint}"
    )
}

pub(super) fn status_zh(line: &EncryptionLine) -> String {
    let EncryptionLine::On { problem, chats, kept, device: (device, fingerprint) } = line else {
        return "关闭".to_owned();
    };
    let state = problem.as_ref().map_or_else(|| "正常".to_owned(), |problem| format!("异常 – {problem}"));
    let kept = if *kept { "（配置中已关闭，但为这些会话保持开启）" } else { "" };
    format!("{state}；已桥接会话中有 {chats} 个{kept}；机器人设备 {device}，指纹 {fingerprint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_tell_whether_it_works_and_for_how_many() {
        let on = |problem: Option<&str>, kept| EncryptionLine::On {
            problem: problem.map(str::to_owned),
            chats: 3,
            kept,
            device: ("DINGTALK01".to_owned(), "k1Fk".to_owned()),
        };
        for (line, en, zh) in [
            (EncryptionLine::Off, "off", "关闭"),
            (on(None, false), "ok; 3 of the bridged chats;", "正常；已桥接会话中有 3 个；"),
            (on(Some("no flag"), false), "not ok – no flag; 3 ", "异常 – no flag；"),
            (on(None, true), "kept on for them); the bot's device DINGTALK01, fingerprint k1Fk", "指纹 k1Fk"),
        ] {
            assert!(status_en(&line).contains(en), "{}", status_en(&line));
            assert!(status_zh(&line).contains(zh), "{}", status_zh(&line));
        }
    }
}
