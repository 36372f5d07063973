//! People, as an app may see them.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};

use crate::{
    api::topapi,
    model::Person,
    refusal::{Refusal, Reply, short_id},
    world::World,
};

/// `POST /topapi/v2/user/get`.
pub(crate) async fn get(State(world): State<Arc<World>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, Some("qyapi_get_member"))?;
    let user_id = arguments.required("userid")?;
    let state = world.state();
    let person =
        state.people.get(&user_id).filter(|person| person.corp_id == app.corp_id && !person.external);
    let person = person.ok_or_else(not_found)?;
    let result = json!({
        "userid": person.staff_id,
        "unionid": person.union_id,
        "name": person.name,
        "avatar": person.avatar,
        "state_code": "86",
        "mobile": person.mobile,
        "hide_mobile": false,
        "telephone": "",
        "job_number": "",
        "title": "工程师",
        "email": "",
        "dept_id_list": [1],
        "active": true,
        "real_authed": true,
        "senior": false,
        "admin": person.admin,
        "boss": false,
    });
    Ok(ok(&result))
}

/// `POST /topapi/v2/user/getbymobile`.
pub(crate) async fn by_mobile(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, Some("qyapi_get_member_by_mobile"))?;
    let mobile = arguments.required("mobile")?;
    if !mobile.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::old(40104, "无效的手机号"));
    }
    let found = find(&world, &app.corp_id, |person| person.mobile == mobile)?;
    Ok(ok(&json!({"userid": found})))
}

/// `POST /topapi/user/getbyunionid`.
pub(crate) async fn by_union_id(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, Some("qyapi_get_member"))?;
    let union_id = arguments.required("unionid")?;
    let found = find(&world, &app.corp_id, |person| person.union_id == union_id)?;
    Ok(ok(&json!({"contact_type": 0, "userid": found})))
}

/// `POST /topapi/user/listsimple`; everybody is in the root department.
pub(crate) async fn list_simple(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, Some("qyapi_get_member"))?;
    let department = arguments.number("dept_id")?;
    let cursor = usize::try_from(arguments.number("cursor")?).unwrap_or(usize::MAX);
    let size = usize::try_from(arguments.number("size")?).unwrap_or(usize::MAX);
    if !(1..=100).contains(&size) {
        return Err(Refusal::old(40035, "不合法的参数"));
    }
    let state = world.state();
    let mut members = state
        .people_order
        .iter()
        .filter_map(|id| state.people.get(id))
        .filter(|person| department == 1 && person.corp_id == app.corp_id && !person.external)
        .skip(cursor);
    let list: Vec<Value> =
        members.by_ref().take(size).map(|p| json!({"userid": p.staff_id, "name": p.name})).collect();
    let mut result = json!({"has_more": false});
    if members.next().is_some() {
        result = json!({"has_more": true, "next_cursor": cursor + size});
    }
    result["list"] = json!(list);
    Ok(ok(&result))
}

fn find(world: &World, corp_id: &str, matches: impl Fn(&Person) -> bool) -> Result<String, Refusal> {
    let state = world.state();
    let found = state.people.values().find(|p| p.corp_id == corp_id && !p.external && matches(p));
    found.map(|person| person.staff_id.clone()).ok_or_else(not_found)
}

fn not_found() -> Refusal {
    Refusal::old(60121, "找不到该用户")
}

fn ok(result: &Value) -> Json<Value> {
    Json(json!({"errcode": 0, "errmsg": "ok", "result": result, "request_id": short_id()}))
}
