//! The sentences in Chinese (simplified).

use std::fmt::Write;

use super::{
    BridgeProblem, FileProblem, GroupLine, LoginProblem, Queue, Reply, Retrying, Status, age, file, names,
};
use super::{encryption, receiving};
use crate::command::{CommandError, Name};
use crate::portal::ChatState;

pub(super) fn text(reply: &Reply) -> String {
    match reply {
        Reply::Welcome => "你好！我负责桥接钉钉与 Matrix。请先发送：login <AppKey> <AppSecret> <AgentID>\n\
            发送“帮助”查看全部命令。Send help for English."
            .to_owned(),
        Reply::EncryptedRoom => "此房间已加密，而本桥接未开启加密功能，我无法读取消息。请与我新建一个聊天，\
            创建时关闭加密。"
            .to_owned(),
        Reply::EncryptedPortal => {
            "此房间现已加密，这里的消息不再传到钉钉。请先用 unbridge 取消桥接，再桥接一个未加密的房间。"
                .to_owned()
        }
        Reply::Undecryptable => {
            "我无法解密这条消息：它的密钥没有传到我这里。请重新发送；如果仍然不行，请在你的 Matrix 客户端重新登录。".to_owned()
        }
        Reply::NotAllowed { command, admins } if admins.is_empty() => format!(
            "你无权使用 {}。目前还没有管理员：请由运行本桥接的人在配置的 permissions.admins 中指定。",
            command.words().0
        ),
        Reply::NotAllowed { command, admins } => {
            format!("你无权使用 {}。可使用的管理员：{}", command.words().0, names(admins))
        }
        Reply::Wrong(error) => wrong(error),
        Reply::Help(None) => {
            let mut text = "命令：\n".to_owned();
            for name in Name::ALL {
                let _ = writeln!(text, "  {}（{}）– {}", name.usage(), name.words().1, summary(name));
            }
            text.push_str(
                "文本、Markdown、图片、文件和视频双向互通，语音仅从钉钉到 Matrix；表情回应、输入状态和通话不互通。help <命令> zh 查看详情，language zh 以后都用中文。",
            );
            text
        }
        Reply::Help(Some(name)) => {
            format!("{}\n{}。\n{}", name.usage(), summary(*name), details(*name)).trim_end().to_owned()
        }
        Reply::Pong => "在的。".to_owned(),
        Reply::Version(version) => format!("dingtalk-bridge {version}"),
        Reply::LoggedIn { organisation, agent_checked, redacted, receive } => {
            let mut text = format!("登录成功：{organisation}");
            if !agent_checked {
                text.push_str(
                    "\n无法核对 AgentID：应用没有 qyapi_get_microapp_list 权限。收发消息不需要它。",
                );
            }
            text.push_str(after_secret(*redacted));
            text.push_str(receiving::next_zh(*receive));
            text
        }
        Reply::LoginFailed { why, redacted } => format!("{}{}", login_problem(why), after_secret(*redacted)),
        Reply::CredentialsFromFile => {
            "本桥接的钉钉凭据来自配置文件，请在那里修改；login 与 logout 不起作用。".to_owned()
        }
        Reply::LoggedOut => {
            "已登出。凭据已删除，之后的推送将被拒绝。已桥接的会话保留，下次登录后继续。".to_owned()
        }
        Reply::NotLinked => "尚未绑定钉钉应用。请发送：login <AppKey> <AppSecret> <AgentID>".to_owned(),
        Reply::Status(figures) => status(figures),
        Reply::Groups(lines) => groups(lines),
        Reply::Bridged { title, room, held } => {
            let mut text = format!("已桥接：{title} ↔ {room}");
            if *held > 0 {
                let _ = write!(text, "\n之前暂存的 {held} 条消息现在按原时间补发。");
            }
            text
        }
        Reply::BridgeFailed(problem) => bridge_problem(problem),
        Reply::RoomBridged { title } => {
            format!("此房间现已桥接到钉钉会话“{title}”。钉钉只把@机器人的消息发给机器人，请同事发言时@它。")
        }
        Reply::Unbridged { title } => format!("已取消桥接：{title}"),
        Reply::RoomUnbridged { title } => {
            format!("此房间不再桥接到钉钉会话“{title}”，这里的消息不再传到钉钉。")
        }
        Reply::UnbridgeUnknown => "没有桥接使用此房间或会话 ID。groups 列出全部会话。".to_owned(),
        Reply::Webhook { url, token, aes_key, former } => format!(
            "请在钉钉开发者后台“事件订阅”和机器人“消息接收地址”处填写：\n地址：{}\nToken：{token}\n\
             AES Key：{aes_key}\n（保存时钉钉会校验地址，成功后出现绿色对勾。）{}",
            url.as_deref().unwrap_or("https://<你的域名>/bridges/dingtalk/webhook"),
            former_line(*former)
        ),
        Reply::WebhookSet { former } => format!(
            "已使用钉钉后台生成的 Token 与 AES Key。请在后台重新保存地址以看到绿色对勾。{}",
            former_line(*former)
        ),
        Reply::WebhookEnded { ended: true } => {
            "原来的 Token 与 AES Key 从现在起失效。如果钉钉后台仍在使用它们，事件将无法送达：发送 webhook 查看应填写的内容。"
                .to_owned()
        }
        Reply::WebhookEnded { ended: false } => {
            "没有原来的 Token 与 AES Key：钉钉使用的就是 webhook 显示的值。".to_owned()
        }
        Reply::WebhookAsked => "运行此桥接的人要求更换回调的 Token 与 AES Key。".to_owned(),
        Reply::WebhookFromFile => "回调的 Token 与 AES Key 来自桥接的配置文件，请在那里修改。".to_owned(),
        Reply::Receiving(line) => receiving::answer_zh(line),
        Reply::Retrying(retrying) => retry(*retrying),
        Reply::LanguageSet => "以后我用中文回答你。".to_owned(),
        Reply::Failed { code } => format!("未能完成：{code}。请重试；status 会显示问题所在。"),
        Reply::NotDelivered { code } => {
            format!("⚠ 此消息未送达钉钉（{}）。管理员可用 retry 重发。", reason(code))
        }
        Reply::MaybeSent => {
            "⚠ 此消息可能已送达钉钉，也可能没有：未收到钉钉的答复。系统不会自动重发；管理员可用 retry 重发。"
                .to_owned()
        }
        Reply::NotShown { code } => {
            format!("⚠ 一条来自钉钉的消息无法在此房间显示（{}）。管理员可用 retry 重发。", reason(code))
        }
        Reply::CannotCross { kind } => format!("⚠ {kind} 类型的消息暂时不能传到钉钉。"),
        Reply::FileNotShown(note) => {
            format!("⚠ [{}：{}，请在钉钉中查看。]", file::named(note, file::ZH), problem(&note.why))
        }
        Reply::FileNotHanded(note) => {
            format!("⚠ {}未能传到钉钉：{}。", file::named(note, file::ZH), problem(&note.why))
        }
        Reply::FileMissing(note) => {
            format!("[Matrix 中发送的{}未能传到这里：{}。]", file::named(note, file::ZH), problem(&note.why))
        }
        Reply::VoiceOneWay => "⚠ 语音消息只能从钉钉传到 Matrix，此条语音不会传到钉钉。".to_owned(),
        Reply::OverQuota => {
            "⚠ 钉钉未提供一条消息的内容：本组织当月额度已用完。提升额度或到下月后恢复。".to_owned()
        }
        Reply::Gap => "⚠ 桥接离线期间这里的部分消息可能没有传到钉钉：数量过多，无法全部补读。".to_owned(),
        Reply::Direct(reply) => reply.chinese(),
        Reply::Notices(reply) => reply.chinese(),
        Reply::Happened(happening) => happening.chinese(),
        Reply::Outage { lasting } => receiving::outage_zh(*lasting),
        Reply::Silent(line) => receiving::silent_zh(*line),
        Reply::UnsupportedKind { kind, summary: None } => format!("[{kind}：请在钉钉中查看]"),
        Reply::UnsupportedKind { kind, summary: Some(summary) } => format!("[{kind}：{summary}]"),
    }
}

fn wrong(error: &CommandError) -> String {
    match error {
        CommandError::Unknown(Some(name)) => {
            format!("没有这个命令。你是想用 {} 吗？help 列出全部命令。", name.words().0)
        }
        CommandError::Unknown(None) => "没有这个命令。help 列出全部命令。".to_owned(),
        CommandError::Arguments(name) => {
            format!("请这样写：{}\nhelp {} zh 查看详情。", name.usage(), name.words().0)
        }
        CommandError::AgentId => "AgentID 必须是数字，见钉钉开发者后台应用的“凭证与基础信息”。".to_owned(),
        CommandError::AppKey => {
            "AppKey 和 AppSecret 只含 ASCII 字母、数字、_ 和 -，请从钉钉开发者后台重新复制。".to_owned()
        }
        CommandError::Room => "房间应为 ID（!…）或别名（#name:server），可在房间设置中找到。".to_owned(),
        CommandError::Chat => "这不是会话 ID。请在钉钉群里@机器人，它会回复会话 ID。".to_owned(),
        CommandError::Token => "Token 应为 3 至 32 位字母和数字，与钉钉后台生成的一致。".to_owned(),
        CommandError::Failure => {
            "retry 可以不带参数，也可以带 status 显示的失败消息编号或其事件 ID。例：retry 12".to_owned()
        }
        CommandError::Language => "我会英文和中文：language en、language zh。".to_owned(),
        CommandError::Topic(Some(name)) => {
            format!("没有这个命令。你是想用 help {} zh 吗？help zh 列出全部命令。", name.words().0)
        }
        CommandError::Topic(None) => "没有这个命令。help zh 列出全部命令。".to_owned(),
        CommandError::AesKey => "AES Key 应为 43 位字母和数字，与钉钉后台生成的一致。".to_owned(),
    }
}

fn retry(retrying: Retrying) -> String {
    match retrying {
        Retrying::Nothing => "没有失败的消息需要重发。".to_owned(),
        Retrying::Unknown => {
            "没有此编号或 ID 的失败消息。status 列出最近的失败消息及其编号；单独发送 retry 重发全部。"
                .to_owned()
        }
        Retrying::Some { to_matrix, to_dingtalk, maybe_twice } => {
            let mut text = format!(
                "正在重发 {} 条失败的消息：{to_matrix} 条发往 Matrix，{to_dingtalk} 条发往钉钉。可用 status 查看结果。",
                to_matrix + to_dingtalk
            );
            if maybe_twice > 0 {
                let _ = write!(text, "\n其中 {maybe_twice} 条可能之前已送达，同事可能看到两次。");
            }
            text
        }
    }
}

fn after_secret(redacted: bool) -> &'static str {
    if redacted {
        "\n含 AppSecret 的消息已被我删除。"
    } else {
        "\n我无权删除这里的消息：请自行删除含 AppSecret 的消息。"
    }
}

pub(super) fn login_problem(why: &LoginProblem) -> String {
    match why {
        LoginProblem::InvalidPair => {
            "Invalid AppKey/AppSecret：AppKey 或 AppSecret 不正确，请重新复制（区分大小写）。".to_owned()
        }
        LoginProblem::ForeignAgent => {
            "AppKey 与 AppSecret 正确，但此 AgentID 属于其他应用或不存在，请从同一页面复制。".to_owned()
        }
        LoginProblem::MissingScope(scope) => {
            format!("应用缺少权限 {scope}。请在钉钉开发者后台“权限管理”中添加后重新登录。")
        }
        LoginProblem::AddressNotAllowed => {
            "钉钉拒绝来自本服务器地址的调用。请把它加入应用的 IP 白名单（或清空白名单）后重新登录。"
                .to_owned()
        }
        LoginProblem::Throttled => "钉钉要求稍候，请一分钟后重试。".to_owned(),
        LoginProblem::Network(reason) => format!("无法连接钉钉（{reason}）。未做任何更改，请重试。"),
        LoginProblem::Other(code) => format!("钉钉返回错误码 {code}。未做任何更改，请重试。"),
    }
}

fn bridge_problem(problem: &BridgeProblem) -> String {
    match problem {
        BridgeProblem::NotInRoom => {
            "我不在这个房间里。请邀请我并设为协管员（权限等级 50）后重试。".to_owned()
        }
        BridgeProblem::Power { have, need } => {
            format!("我在此房间的权限等级是 {have}，邀请钉钉同事需要 {need}。请在房间设置中提升后重试。")
        }
        BridgeProblem::Encrypted => {
            "此房间已加密，而本桥接未开启加密功能。请选择或新建未加密的房间。".to_owned()
        }
        BridgeProblem::UnknownChat(chat) => format!(
            "还没有收到会话 {chat} 的消息。请把机器人加入钉钉群并@它，它会回复会话 ID。groups 列出我见过的会话。"
        ),
        BridgeProblem::RoomTaken(title) => {
            format!("此房间已桥接到“{title}”。请先 unbridge，或另选房间。")
        }
        BridgeProblem::AlreadyBridged(title) => {
            format!("此房间已桥接到“{title}”，与你的要求一致，无需操作。unbridge 可取消桥接。")
        }
        BridgeProblem::ChatTaken(room) => format!("此会话已桥接到 {room}。请先 unbridge。"),
        BridgeProblem::Dead => "钉钉已解散此会话，无法桥接。".to_owned(),
        BridgeProblem::ManagementRoom => "这是我们的私聊，请另选一个房间桥接。".to_owned(),
        BridgeProblem::NoPowerOfSender => "你不在这个房间里。只有房间成员才能桥接它。".to_owned(),
    }
}

fn status(figures: &Status) -> String {
    let state = |problem: &Option<String>| match problem {
        None => "正常".to_owned(),
        Some(problem) => format!("异常 – {problem}"),
    };
    let queue = |queue: &Queue| match queue.oldest {
        Some(oldest) => format!("{} 条等待，最早的已等 {}", queue.waiting, age(oldest)),
        None => "空".to_owned(),
    };
    let mut text =
        format!("dingtalk-bridge {}\nMatrix 服务器：{}\n", figures.version, state(&figures.homeserver));
    match &figures.organisation {
        Some(name) => {
            let _ = writeln!(text, "钉钉：{name}，{}", state(&figures.dingtalk));
        }
        None => text.push_str("钉钉：未绑定 – 请发送 login <AppKey> <AppSecret> <AgentID>\n"),
    }
    let webhook = figures.webhook.as_deref();
    let _ = writeln!(text, "接收方式：{}", receiving::status_zh(&figures.receiving, webhook));
    let _ = writeln!(text, "加密房间：{}", encryption::status_zh(&figures.encryption));
    let _ = writeln!(text, "数据库：{}", state(&figures.database));
    let _ = writeln!(text, "发往 Matrix：{}", queue(&figures.to_matrix));
    let _ = writeln!(text, "发往钉钉：{}", queue(&figures.to_dingtalk));
    let _ = match &figures.last_event {
        Some((kind, since)) => writeln!(text, "最近的钉钉事件：{kind}，{} 前", age(*since)),
        None => {
            writeln!(text, "最近的钉钉事件：{}", receiving::nothing_yet_zh(figures.receiving.receive))
        }
    };
    if let Some(line) = figures.silence {
        let _ = writeln!(text, "{}", receiving::silent_zh(line));
    }
    let _ = writeln!(
        text,
        "会话：{} 个已桥接，{} 个见过但未桥接（暂存 {} 条消息）",
        figures.bridged, figures.seen, figures.held
    );
    let _ = writeln!(text, "当月额度：{}", if figures.over_quota { "已用完" } else { "正常" });
    if figures.failed_total == 0 {
        text.push_str("失败的消息：无");
    } else {
        let _ = write!(text, "失败的消息：{} 条（retry 重发）", figures.failed_total);
        for failed in &figures.failed {
            let side = if failed.to_dingtalk { "钉钉" } else { "Matrix" };
            let _ = write!(
                text,
                "\n  #{} 发往{side}，{} 前：{}",
                failed.number,
                age(failed.age),
                reason(&failed.code)
            );
        }
    }
    if figures.unreadable > 0 {
        let _ = write!(text, "\n无法读取的内容：{} 条（已保留，详见日志）", figures.unreadable);
    }
    text
}

fn groups(lines: &[GroupLine]) -> String {
    if lines.is_empty() {
        return "还没有见过任何会话。请把机器人加入钉钉群并@它。".to_owned();
    }
    let mut text = String::new();
    for line in lines {
        let state = match line.state {
            ChatState::Seen => "未桥接",
            ChatState::Bridging | ChatState::Bridged => "已桥接",
            ChatState::Unbridged => "已取消桥接",
            ChatState::Dead => "已解散",
        };
        let _ = write!(text, "{} – {}，{state}", line.title, line.id);
        if let Some(room) = &line.room {
            let _ = write!(text, " ↔ {room}");
        }
        text.push('\n');
    }
    text.pop();
    text
}

fn summary(name: Name) -> &'static str {
    match name {
        Name::Login => "绑定你的钉钉应用",
        Name::Logout => "解除绑定并删除凭据",
        Name::Status => "查看运行状况、等待与失败的消息",
        Name::Groups => "列出机器人见过的会话",
        Name::Bridge => "连接房间与会话",
        Name::Unbridge => "断开连接",
        Name::Pm => "打开与某人的单聊",
        Name::Notices => "选择显示审批、考勤和日程变更的房间",
        Name::Webhook => "显示要填入钉钉后台的内容",
        Name::Stream => "查看或选择钉钉消息的接收方式",
        Name::Retry => "重发失败的消息",
        Name::Ping => "应答",
        Name::Version => "显示版本",
        Name::Language => "选择我回答你的语言",
        Name::Help => "显示本说明",
    }
}

/// Said while two pairs are good.
const fn former_line(former: bool) -> &'static str {
    if former {
        "\n钉钉尚未用这组值推送事件；在此之前，原来的 Token 与 AES Key 仍然有效，发送 webhook end 可使其立即失效。"
    } else {
        ""
    }
}

fn details(name: Name) -> &'static str {
    match name {
        Name::Login => {
            "三项都在钉钉开发者后台应用的“凭证与基础信息”中。保存前会向钉钉核对，并加密保存。仅限管理员。"
        }
        Name::Bridge => {
            "房间：形如 !abc:server 的 ID 或 #team:server 的别名，我须在其中且权限等级为 50。会话 ID：\
            在钉钉群里@机器人，它会回复。例：bridge #team:server cidQ7x…==。仅限管理员。"
        }
        Name::Unbridge => "写房间或会话均可，已有消息保留。仅限管理员。",
        Name::Pm => {
            "填写对方在钉钉中显示的姓名（须曾发过消息），或其 UserID。房间只向配置中指定的用户（direct.recipients）\
            显示，未指定时为登录者；他们可使用此命令。"
        }
        Name::Notices => {
            "不带参数时显示当前房间；off 表示不显示。我须在该房间中。房间成员都能看到谁发起了什么、谁打了卡。仅管理员可用。"
        }
        Name::Webhook => {
            "不带参数显示桥接生成的地址、Token 和 AES Key；带两个参数则使用钉钉后台生成的；new 重新生成，原来的值在钉钉用新值推送事件之前仍然有效，end 使其立即失效。仅限管理员。"
        }
        Name::Stream => {
            "on 在回调之外另建到钉钉的长连接（Stream 模式，无需公网地址）；only 随后关闭回调；off 只用回调；default 按配置文件。\
             仅限管理员。"
        }
        Name::Retry => {
            "不带参数重发全部；也可写 status 显示的编号，或 Matrix 事件、钉钉消息的 ID，只重发那一条。\
            可能已送达的消息也会重发，同事可能看到两次。仅限管理员。"
        }
        Name::Language => {
            "一直有效，直到你另选。未选择时，我用命令所用的语言回答：status 用英文，状态 用中文。"
        }
        Name::Logout | Name::Status | Name::Groups => "仅限管理员。",
        Name::Ping | Name::Version | Name::Help => "",
    }
}

/// Why a file does not cross.
fn problem(why: &FileProblem) -> String {
    match why {
        FileProblem::TooLarge { limit: Some(limit) } => format!("超过 {} 的上限", file::size(*limit)),
        FileProblem::TooLarge { limit: None } => "文件过大".to_owned(),
        FileProblem::Gone => "已无法下载".to_owned(),
        FileProblem::Elsewhere => "文件地址不被允许".to_owned(),
        FileProblem::Type => "不支持此类型的文件".to_owned(),
        FileProblem::Other(code) => reason(code).to_owned(),
    }
}

/// What a stable code means, for people.
fn reason(code: &str) -> &str {
    match code {
        "chat_gone" => "钉钉称会话已不存在",
        "bot_off" => "机器人已停用或不在会话中",
        "denied" => "应用缺少权限",
        "bad_credentials" => "钉钉拒绝应用凭据",
        "quota" => "钉钉当月额度已用完",
        "content_refused" => "钉钉拒绝该内容",
        "not_linked" => "尚未绑定钉钉应用",
        "maybe_sent" => "未收到答复，可能已送达",
        "session_gone" => "钉钉的回复地址已过期，会话中的下一条消息会带来新的",
        "user_gone" => "对方已不在组织中",
        "m_too_large" => "超出 Matrix 服务器的大小限制",
        "m_forbidden" => "此房间不允许该发送者发言",
        "unreadable" => "由其他版本的桥接写入",
        other => other,
    }
}
