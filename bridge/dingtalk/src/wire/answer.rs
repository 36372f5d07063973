//! The fields that answers of both APIs have in common (API.md section 1.2).

use std::borrow::Cow;

use super::json;

/// What decides over an answer.
pub(crate) struct AnswerFields {
    /// `errcode`, written as number or text.
    pub(crate) errcode: Option<String>,
    /// `sub_code`, when it is not empty.
    pub(crate) sub_code: Option<String>,
    /// `code`.
    pub(crate) code: Option<String>,
    /// The most telling of the texts.
    pub(crate) message: String,
    /// The permission that is missing.
    pub(crate) scope: Option<String>,
    /// The body that tells a banned address.
    pub(crate) is_ban: bool,
}

/// Longest code and longest scope kept, in bytes.
const MAX_CODE_BYTES: usize = 128;

impl AnswerFields {
    /// `None` when the text is not a JSON object.
    pub(crate) fn read(text: &str) -> Option<Self> {
        const NAMES: [&str; 9] = [
            "errcode",
            "sub_code",
            "code",
            "sub_msg",
            "errmsg",
            "message",
            "accessdenieddetail",
            "punish",
            "status",
        ];
        let [errcode, sub_code, code, sub_msg, errmsg, message, detail, punish, status] =
            json::pick(text, &NAMES).ok()?;
        let code_of =
            |value| json::filled(value).map(|code: Cow<'_, str>| json::clip(code.trim(), MAX_CODE_BYTES));
        let message = [sub_msg, errmsg, message].into_iter().find_map(json::filled).unwrap_or_default();
        let detail = json::object(detail);
        let scopes: Vec<_> = json::elements(json::pick_any(&detail, &["requiredScopes"])[0])
            .into_iter()
            .filter_map(|scope| json::filled(Some(scope)))
            .collect();
        let scope =
            if scopes.is_empty() { bracketed(&message).map(str::to_owned) } else { Some(scopes.join(",")) };
        Some(Self {
            errcode: code_of(errcode),
            sub_code: code_of(sub_code),
            code: code_of(code),
            scope: scope.map(|scope| json::clip(&scope, MAX_CODE_BYTES)),
            message: message.into_owned(),
            is_ban: json::text(punish).as_deref() == Some("deny") || json::number(status) == Some(1111),
        })
    }
}

/// The name of a scope that a text gives in brackets: `…：[qyapi_get_member]`.
fn bracketed(text: &str) -> Option<&str> {
    text.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(inner, _)| inner).find(|inner| {
        let letters = inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.,-".contains(&byte));
        letters && inner.bytes().any(|byte| byte.is_ascii_alphabetic())
    })
}
