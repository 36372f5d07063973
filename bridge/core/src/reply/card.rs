//! What the notice room reads: approvals, attendance, calendars, in both languages at once.

use crate::clock::Timestamp;
use crate::content::{Block, Document, Inline};
use crate::organisation::Card;

/// A card as a document. `name` is the shown name of the person it is about.
pub fn card(card: &Card, name: Option<&str>) -> Document {
    let mut lines = Lines::default();
    let title = match card {
        Card::Approval { step, title, stage, result, remark, at, url, .. } => {
            lines.add("标题 Title", title.as_deref());
            lines.add(if *step { "处理人 Decides" } else { "发起人 Asked by" }, name);
            lines.add("状态 Status", Some(&*known(stage, &STAGES)).filter(|stage| !stage.is_empty()));
            lines.add("结果 Result", result.as_deref().map(|word| known(word, &RESULTS)).as_deref());
            lines.add("意见 Remark", remark.as_deref());
            lines.time(*at);
            lines.link(url.as_deref());
            if *step { "审批任务 Approval step" } else { "审批 Approval" }
        }
        Card::CheckIn { at, place, .. } => {
            lines.add("人员 Who", name);
            lines.time(*at);
            lines.add("地点 Place", place.as_deref().map(|word| known(word, &PLACES)).as_deref());
            "打卡 Attendance"
        }
        Card::Attendance { day, .. } => {
            lines.add("人员 Who", name);
            lines.add("工作日 Working day", day.as_deref());
            "考勤结果已更改 Attendance result changed"
        }
        Card::AttendanceApproval { status, kind } => {
            lines.add("类型 Kind", kind.as_deref());
            lines.add("状态 Status", status.as_deref());
            "考勤审批 Attendance approval"
        }
        Card::Calendar { change, people, at } => {
            lines.add("变更 Change", change.as_deref().map(|word| known(word, &CHANGES)).as_deref());
            lines.add("涉及人数 People", Some(people.to_string()).filter(|_| *people > 0).as_deref());
            lines.time(*at);
            "日程 Calendar"
        }
    };
    let mut text = vec![Inline::Strong(vec![Inline::Text(title.to_owned())])];
    text.extend(lines.0);
    Document { blocks: vec![Block::Paragraph(text)] }
}

/// The lines below the title.
#[derive(Default)]
struct Lines(Vec<Inline>);

impl Lines {
    fn add(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.extend([Inline::Break, Inline::Text(format!("{label}: {value}"))]);
        }
    }

    fn time(&mut self, at: Option<Timestamp>) {
        let text = at.map(clock).filter(|text| !text.is_empty());
        self.add("时间 Time", text.as_deref());
    }

    fn link(&mut self, url: Option<&str>) {
        if let Some(url) = url {
            let label = vec![Inline::Text("在钉钉中查看 Open in DingTalk".to_owned())];
            self.0.extend([Inline::Break, Inline::Link(url.to_owned(), label)]);
        }
    }
}

type Words = [(&'static str, &'static str)];

const STAGES: [(&str, &str); 5] = [
    ("start", "已发起 started"),
    ("finish", "已结束 finished"),
    ("terminate", "已撤销 withdrawn"),
    ("cancel", "已取消 cancelled"),
    ("delete", "已删除 deleted"),
];

const RESULTS: [(&str, &str); 3] =
    [("agree", "同意 agreed"), ("refuse", "拒绝 refused"), ("redirect", "转交 passed on")];

const PLACES: [(&str, &str); 2] = [("Normal", "范围内 as expected"), ("Outside", "外勤 elsewhere")];

const CHANGES: [(&str, &str); 4] = [
    ("create", "新建 created"),
    ("created", "新建 created"),
    ("update", "更改 changed"),
    ("delete", "删除 deleted"),
];

/// DingTalk's word in both languages; one that is newer than this list as it is.
fn known(word: &str, words: &Words) -> String {
    let found = words.iter().find(|(theirs, _)| *theirs == word);
    found.map_or_else(|| word.to_owned(), |(_, ours)| (*ours).to_owned())
}

/// A moment as DingTalk's people read their clocks; empty for one that no calendar has.
fn clock(at: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let at = jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_zoned(zone));
    at.map(|at| at.strftime("%Y-%m-%d %H:%M (UTC+8)").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_readable() {
        let at = Some(Timestamp(1_758_800_005_123));
        let cards = [
            Card::Approval {
                step: false,
                title: Some("林小桥提交的请假".into()),
                stage: "finish".into(),
                result: Some("agree".into()),
                staff: None,
                remark: None,
                at,
                url: Some("https://aflow.dingtalk.com/x?a=b".into()),
            },
            Card::Approval {
                step: true,
                title: None,
                stage: "brandnew".into(),
                result: None,
                staff: None,
                remark: Some("<b>同意</b>".into()),
                at: Some(Timestamp(i64::MAX)),
                url: None,
            },
            Card::CheckIn { staff: None, at, place: Some("Outside".into()) },
            Card::Attendance { staff: None, day: Some("2025-09-25 00:00:00".into()) },
            Card::AttendanceApproval { status: Some("NORMAL".into()), kind: None },
            Card::Calendar { change: Some("create".into()), people: 2, at },
        ];
        let texts: Vec<String> = cards.iter().map(|one| card(one, Some("林小桥")).to_plain_text()).collect();
        insta::assert_snapshot!(texts.join("\n\n"));
    }
}
