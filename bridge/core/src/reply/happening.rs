//! What a room is told about its messages and its chat, in both languages side by side.

/// Something that a room's people have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A message that was taken back here stays in DingTalk.
    NotRecalled(RecallProblem),
    /// The room cannot live on as another one, which belongs to this chat.
    UpgradeRefused {
        /// The other chat's title.
        title: String,
    },
    /// A message of this room was taken back in DingTalk.
    RecalledThere {
        /// By whom, where that is known.
        by: Option<String>,
    },
    /// The chat has another owner.
    NewOwner {
        /// Whose name this is.
        name: String,
    },
    /// The chat is no more.
    Disbanded,
    /// A message for a chat that is no more.
    ChatIsDead,
}

/// Why a message stays in DingTalk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecallProblem {
    /// It, or a part of it, is older than DingTalk allows.
    TooOld,
    /// It, or a part of it, went out through a reply address, which gives no handle.
    NoHandle,
    /// Somebody wrote it in DingTalk.
    WrittenThere,
    /// It may have been sent; nobody knows.
    MaybeSent,
    /// DingTalk refused, with this code.
    Refused(String),
}

impl Happening {
    pub(super) fn english(&self) -> String {
        match self {
            Self::NotRecalled(why) => {
                let why = match why {
                    RecallProblem::TooOld => "DingTalk takes messages back for 24 hours only".to_owned(),
                    RecallProblem::NoHandle => {
                        "it mentioned somebody, and DingTalk cannot take back messages with mentions".to_owned()
                    }
                    RecallProblem::WrittenThere => {
                        "it was written in DingTalk, where only its author can take it back".to_owned()
                    }
                    RecallProblem::MaybeSent => "nobody knows whether it arrived there".to_owned(),
                    RecallProblem::Refused(code) => format!("DingTalk refused: {code}"),
                };
                format!("⚠ This message, or a part of it, can still be read in DingTalk: {why}.")
            }
            Self::UpgradeRefused { title } => format!(
                "⚠ This room was upgraded to a room that is bridged to \"{title}\". This chat stays bridged to this \
                 room; an admin can unbridge it and bridge another room."
            ),
            Self::RecalledThere { by: Some(by) } => format!("{by} recalled this message in DingTalk."),
            Self::RecalledThere { by: None } => "This message was recalled in DingTalk.".to_owned(),
            Self::NewOwner { name } => format!("The DingTalk group belongs to {name} now."),
            Self::Disbanded => {
                "⚠ The DingTalk group of this room was disbanded. Messages from here no longer reach anybody there."
                    .to_owned()
            }
            Self::ChatIsDead => {
                "⚠ This message did not reach DingTalk: the group of this room was disbanded. An admin can bridge \
                 another chat to this room."
                    .to_owned()
            }
        }
    }

    pub(super) fn chinese(&self) -> String {
        match self {
            Self::NotRecalled(why) => {
                let why = match why {
                    RecallProblem::TooOld => "钉钉只允许在 24 小时内撤回".to_owned(),
                    RecallProblem::NoHandle => "它@了某人，而钉钉无法撤回带@的消息".to_owned(),
                    RecallProblem::WrittenThere => "它写于钉钉，只有作者本人能在那里撤回".to_owned(),
                    RecallProblem::MaybeSent => "不清楚它是否已送达".to_owned(),
                    RecallProblem::Refused(code) => format!("钉钉拒绝了：{code}"),
                };
                format!("⚠ 此消息（或其中一部分）在钉钉中仍可看到：{why}。")
            }
            Self::UpgradeRefused { title } => format!(
                "⚠ 此房间升级到的新房间已桥接到“{title}”。本会话仍桥接到此房间；管理员可取消桥接后改用其他房间。"
            ),
            Self::RecalledThere { by: Some(by) } => format!("{by} 在钉钉中撤回了此消息。"),
            Self::RecalledThere { by: None } => "此消息已在钉钉中撤回。".to_owned(),
            Self::NewOwner { name } => format!("钉钉群主现为 {name}。"),
            Self::Disbanded => "⚠ 此房间对应的钉钉群已解散，这里的消息不再送达任何人。".to_owned(),
            Self::ChatIsDead => {
                "⚠ 此消息未送达钉钉：对应的钉钉群已解散。管理员可将其他会话桥接到此房间。".to_owned()
            }
        }
    }
}

/// One of each, for the book of all sentences.
#[cfg(test)]
pub(super) fn samples() -> impl Iterator<Item = Happening> {
    let problems = [
        RecallProblem::TooOld,
        RecallProblem::NoHandle,
        RecallProblem::WrittenThere,
        RecallProblem::MaybeSent,
        RecallProblem::Refused("bot_off".into()),
    ];
    problems.map(Happening::NotRecalled).into_iter().chain([
        Happening::UpgradeRefused { title: "Plan".into() },
        Happening::RecalledThere { by: Some("林小桥".into()) },
        Happening::RecalledThere { by: None },
        Happening::NewOwner { name: "林小桥".into() },
        Happening::Disbanded,
        Happening::ChatIsDead,
    ])
}
