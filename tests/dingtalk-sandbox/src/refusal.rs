//! Every refusal of both APIs, with the status and the body DingTalk gives.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A refused call.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: Value,
}

/// Result of a handler.
pub(crate) type Reply = Result<Json<Value>, Refusal>;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl Refusal {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }

    /// New API: status and code.
    pub(crate) fn new_api(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"code": code, "requestid": request_id(), "message": message});
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), body }
    }

    /// New API: 400.
    pub(crate) fn bad(code: &str, message: &str) -> Self {
        Self::new_api(400, code, message)
    }

    /// Old API outside `/topapi`, and the webhooks: flat.
    pub(crate) fn flat(errcode: i64, errmsg: &str) -> Self {
        Self::ok(json!({"errcode": errcode, "errmsg": errmsg}))
    }

    /// Old API, flat with `request_id`.
    pub(crate) fn old(errcode: i64, errmsg: &str) -> Self {
        Self::ok(json!({"errcode": errcode, "errmsg": errmsg, "request_id": short_id()}))
    }

    /// Old API under `/topapi`: 88 around a sub code.
    pub(crate) fn wrapped(sub_code: &str, sub_msg: &str) -> Self {
        Self::ok(json!({
            "errcode": 88,
            "sub_code": sub_code,
            "sub_msg": sub_msg,
            "errmsg": format!("ding talk error[subcode={sub_code},submsg={sub_msg}]"),
            "request_id": short_id(),
        }))
    }

    pub(crate) fn bad_token(api: Api) -> Self {
        const TEXT: &str = "不合法的access_token";
        match api {
            Api::New => Self::bad("InvalidAuthentication", TEXT),
            Api::Topapi => Self::wrapped("40014", TEXT),
            Api::Old => Self::flat(40014, TEXT),
        }
    }

    pub(crate) fn no_token(api: Api) -> Self {
        match api {
            Api::New => {
                Self::bad("AuthenticationFailed.MissingParameter", "缺少参数：x-acs-dingtalk-access-token")
            }
            Api::Topapi => Self::wrapped("40000", "不合法的参数：access_token"),
            Api::Old => Self::flat(40014, "不合法的access_token"),
        }
    }

    pub(crate) fn no_scope(api: Api, scope: &str) -> Self {
        let text = format!("应用尚未开通所需的权限：[{scope}]");
        if api == Api::New {
            let mut refusal = Self::new_api(403, "Forbidden.AccessDenied.AccessTokenPermissionDenied", &text);
            refusal.body["accessdenieddetail"] = json!({"requiredScopes": [scope]});
            return refusal;
        }
        Self::wrapped("60011", &text)
    }

    pub(crate) fn address_not_allowed(api: Api) -> Self {
        const TEXT: &str = "访问ip不在白名单之中";
        match api {
            Api::New => Self::new_api(403, "Forbidden.AccessDenied.IpNotInWhiteList", TEXT),
            Api::Topapi | Api::Old => Self::wrapped("60020", TEXT),
        }
    }

    /// A path that does not exist.
    pub(crate) fn unknown_path(api: Api, path: &str) -> Self {
        match api {
            Api::New => Self::flat(404, "请求的URI地址不存在"),
            Api::Topapi | Api::Old => {
                let text = format!("Invalid method[{path}]");
                Self::ok(json!({"errcode": 22, "sub_msg": text, "errmsg": text, "request_id": short_id()}))
            }
        }
    }

    /// Old API: a required argument is not there.
    pub(crate) fn missing_argument(name: &str) -> Self {
        Self::old(40, &format!("Missing required arguments:{name}"))
    }

    /// One of the ways to be throttled.
    pub(crate) fn throttled(path: &str, form: &str) -> Response {
        if form == "banned_html" {
            return axum::response::Html("<html><body>punish: deny</body></html>").into_response();
        }
        let refusal = match (Api::of(path), form) {
            (_, "banned") => Self::ok(
                json!({"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": short_id()}),
            ),
            (Api::New, "month") => forbidden("ApiCountLimitForOrg"),
            (Api::New, "qpm") => forbidden("QpmLimitForAppkeyAndApi"),
            (Api::New, "api") => forbidden("QpsLimitForApi"),
            (Api::New, "send") => Self::bad("send.too.fast", "限流错误"),
            (Api::New, "group") => Self::bad("too.many.group", "限流错误"),
            (Api::New, "people") => Self::bad("too.many.people", "限流错误"),
            (Api::New, "by_token") => Self::bad("send.byToken.tooFast", "限流错误"),
            (Api::New, _) => forbidden("QpsLimitForAppkeyAndApi"),
            (_, "month") => Self::flat(90020, "本月调用次数已达上限"),
            (_, "api") => Self::flat(90002, "您的服务器调用钉钉开放平台当前接口的所有请求都被暂时禁用了"),
            (_, "minute") => too_many_per_minute(),
            (_, "table") => Self::flat(410_100, "发送速度太快而限流"),
            (_, "send") => Self::flat(130_101, "send too fast, exceed 20 times per minute"),
            (Api::Topapi | Api::Old, _) => Self::flat(90018, "您的应用调用当前接口的请求数超过了每秒的上限"),
        };
        refusal.into_response()
    }
}

/// A custom bot over 20 messages a minute.
pub(crate) fn too_many_per_minute() -> Refusal {
    Refusal::flat(660_026, "sending too many messages per minute")
}

fn forbidden(code: &str) -> Refusal {
    Refusal::new_api(403, &format!("Forbidden.AccessDenied.{code}"), "调用过于频繁")
}

/// Which family of paths; decides the shape of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// `api.dingtalk.com`.
    New,
    /// `oapi.dingtalk.com/topapi`.
    Topapi,
    /// Other paths of `oapi.dingtalk.com`.
    Old,
}

impl Api {
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with("/v1.0") || path.starts_with("/v2.0") {
            Self::New
        } else if path.starts_with("/topapi") {
            Self::Topapi
        } else {
            Self::Old
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Only to tell requests apart; zeros would do.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

fn request_id() -> String {
    let hex = crate::crypt::hex(&random::<16>()).to_uppercase();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// `request_id` of the old API.
pub(crate) fn short_id() -> String {
    format!("15r{}", &crate::crypt::hex(&random::<8>())[..10])
}
