//! Both of DingTalk's API origins on one listener; one file per section of paths.

pub(crate) mod failed;
pub(crate) mod groups;
pub(crate) mod media;
pub(crate) mod org;
pub(crate) mod robot;
pub(crate) mod stream;
pub(crate) mod token;
pub(crate) mod users;
pub(crate) mod webhook;
pub(crate) mod work;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderMap, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Map, Value};

use crate::{
    model::App,
    refusal::{Api, Refusal},
    world::World,
};

/// Every path DingTalk has here.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/gettoken", get(token::old))
        .route("/v1.0/oauth2/accessToken", post(token::new))
        .route("/v1.0/oauth2/{corp_id}/token", post(token::unified))
        .route("/v1.0/contact/organizations/authInfos", get(org::auth_infos))
        .route("/v1.0/microApp/allInnerApps", get(org::inner_apps))
        .route("/topapi/v2/department/get", post(org::department))
        .route("/topapi/v2/department/listsub", post(org::sub_departments))
        .route("/topapi/v2/user/get", post(users::get))
        .route("/topapi/v2/user/getbymobile", post(users::by_mobile))
        .route("/topapi/user/getbyunionid", post(users::by_union_id))
        .route("/topapi/user/listsimple", post(users::list_simple))
        .route("/topapi/message/corpconversation/asyncsend_v2", post(work::send).get(work::send))
        .route("/topapi/message/corpconversation/getsendprogress", post(work::progress))
        .route("/v1.0/gateway/connections/open", post(stream::open))
        .route("/connect", get(stream::connect))
        .route("/v1.0/robot/groupMessages/send", post(robot::to_group))
        .route("/v1.0/robot/oToMessages/batchSend", post(robot::to_people))
        .route("/v1.0/robot/groupMessages/recall", post(robot::recall_group))
        .route("/v1.0/robot/otoMessages/batchRecall", post(robot::recall_people))
        .route("/v1.0/robot/messageFiles/download", post(media::download))
        .route("/v1.0/robot/groups/robots/query", post(groups::robots))
        .route("/v1.0/im/chat/{chat_id}/convertToOpenConversationId", post(groups::convert))
        .route("/v1.0/im/sceneGroups/query", post(groups::scene))
        .route("/v1.0/im/sceneGroups/members/batchQuery", post(groups::scene))
        .route("/chat/get", get(groups::chat_get))
        .route("/media/upload", post(media::upload))
        .route("/_files/{name}", get(media::file))
        .route("/robot/sendBySession", post(webhook::by_session))
        .route("/robot/send", post(webhook::custom))
        .route("/call_back/get_call_back_failed_result", get(failed::list))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
}

async fn unknown(uri: Uri) -> Response {
    Refusal::unknown_path(Api::of(uri.path()), uri.path()).into_response()
}

/// The app behind a token that has the scope.
pub(crate) fn authorize(
    world: &World,
    api: Api,
    token: Option<&str>,
    scope: Option<&str>,
) -> Result<App, Refusal> {
    let token = token.filter(|token| !token.is_empty()).ok_or_else(|| Refusal::no_token(api))?;
    let state = world.state();
    let known = state.tokens.get(token).filter(|token| token.expires > crate::now_ms());
    let app =
        known.and_then(|token| state.apps.get(&token.app_key)).ok_or_else(|| Refusal::bad_token(api))?;
    if !app.address_allowed {
        return Err(Refusal::address_not_allowed(api));
    }
    match scope {
        Some(scope) if !app.scopes.contains(scope) => Err(Refusal::no_scope(api, scope)),
        _ => Ok(app.clone()),
    }
}

/// New API: the token is read from its header only.
pub(crate) fn authorize_new(world: &World, headers: &HeaderMap, scope: Option<&str>) -> Result<App, Refusal> {
    let token = headers.get("x-acs-dingtalk-access-token").and_then(|value| value.to_str().ok());
    authorize(world, Api::New, token, scope)
}

/// New API: a JSON object, declared as JSON.
pub(crate) fn json_body(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if !is_json(headers) || body.is_empty() {
        return Err(Refusal::bad("Missingbody", "body is mandatory for this action."));
    }
    serde_json::from_slice(body)
        .map_err(|_| Refusal::bad("invalidParameter.param.invalid", "请求体不是合法的JSON对象"))
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Arguments of an old-API call: query, then JSON or form body.
#[derive(Debug)]
pub(crate) struct Arguments {
    query: Map<String, Value>,
    body: Map<String, Value>,
    form: bool,
}

impl Arguments {
    pub(crate) fn read(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let pairs = |bytes: &[u8]| -> Map<String, Value> {
            url::form_urlencoded::parse(bytes)
                .map(|(k, v)| (k.into_owned(), Value::from(v.into_owned())))
                .collect()
        };
        let form = !is_json(headers);
        let body = if form { pairs(body) } else { serde_json::from_slice(body).unwrap_or_default() };
        Self { query: pairs(uri.query().unwrap_or_default().as_bytes()), body, form }
    }

    /// The token: in the query, or in a form body.
    pub(crate) fn token(&self) -> Option<&str> {
        let form = self.form.then(|| self.body.get("access_token")).flatten();
        self.query.get("access_token").or(form).and_then(Value::as_str)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.body.get(name).or_else(|| self.query.get(name)).filter(|value| !value.is_null())
    }

    /// Text, or a number written as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
        .filter(|text| !text.is_empty())
    }

    pub(crate) fn required(&self, name: &str) -> Result<String, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing_argument(name))
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.required(name)?.parse().map_err(|_| Refusal::old(40035, "不合法的参数"))
    }
}

/// Authorises a `/topapi` call and reads its arguments.
pub(crate) fn topapi(
    world: &World,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    scope: Option<&str>,
) -> Result<(App, Arguments), Refusal> {
    let arguments = Arguments::read(uri, headers, body);
    let app = authorize(world, Api::Topapi, arguments.token(), scope)?;
    Ok((app, arguments))
}
