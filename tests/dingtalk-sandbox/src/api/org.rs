//! The organisation, its departments and its apps.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};

use crate::{
    api::{authorize_new, topapi},
    refusal::{Refusal, Reply, short_id},
    world::World,
};

/// `GET /v1.0/contact/organizations/authInfos`.
pub(crate) async fn auth_infos(
    State(world): State<Arc<World>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Reply {
    let app = authorize_new(&world, &headers, Some("Contact.Org.Read"))?;
    let wanted = query.get("targetCorpId").filter(|id| !id.is_empty()).unwrap_or(&app.corp_id);
    if *wanted != app.corp_id {
        return Err(Refusal::bad("permission.denied", "没有权限访问该组织"));
    }
    let state = world.state();
    let company = state.companies.get(wanted);
    let company = company.ok_or_else(|| Refusal::bad("invalidParameter.system.param", "参数错误"))?;
    let mut info = json!({"orgName": company.name, "authLevel": company.auth_level});
    if company.auth_level > 0 {
        info["licenseOrgName"] = json!(format!("{}有限公司", company.name));
        info["registrationNum"] = json!("330100000000001");
        info["unifiedSocialCredit"] = json!("91330100SANDBOX01X");
        info["organizationCode"] = json!("");
        info["legalPerson"] = json!("林");
        info["licenseUrl"] = json!("https://example.org/license.png");
    }
    Ok(Json(info))
}

/// `GET /v1.0/microApp/allInnerApps`.
pub(crate) async fn inner_apps(State(world): State<Arc<World>>, headers: HeaderMap) -> Reply {
    let app = authorize_new(&world, &headers, Some("qyapi_get_microapp_list"))?;
    let state = world.state();
    let apps: Vec<Value> = state
        .apps
        .values()
        .filter(|other| other.corp_id == app.corp_id)
        .map(|app| {
            json!({
                "agentId": app.agent_id,
                "name": format!("{}应用", app.name),
                "desc": "bridge",
                "icon": "https://example.org/icon.png",
                "homepageLink": "",
                "pcHomepageLink": "",
                "ompLink": "",
                "appId": 0,
                "appStatus": i32::from(!app.stopped),
                "developType": 0,
                "robotInfo": {"name": app.name, "robotCode": app.app_key},
                "unifiedAppId": "1b2c3d4e-5f60-4718-8293-a4b5c6d7e8f9",
            })
        })
        .collect();
    Ok(Json(json!({"appList": apps})))
}

/// `POST /topapi/v2/department/get`.
pub(crate) async fn department(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, Some("qyapi_get_department_list"))?;
    let wanted = arguments.number("dept_id")?;
    let state = world.state();
    let company = state.companies.get(&app.corp_id).ok_or_else(|| Refusal::old(60003, "部门不存在"))?;
    let (name, parent) = if wanted == 1 {
        (&company.name, None)
    } else {
        let found = company.departments.iter().find(|(id, _)| *id == wanted);
        (&found.ok_or_else(|| Refusal::old(60003, "部门不存在"))?.1, Some(1))
    };
    let mut result = json!({
        "dept_id": wanted,
        "name": name,
        "auto_add_user": true,
        "create_dept_group": true,
        "dept_manager_userid_list": [],
        "hide_dept": false,
        "outer_dept": false,
    });
    if let Some(parent) = parent {
        result["parent_id"] = json!(parent);
    }
    Ok(Json(json!({"errcode": 0, "errmsg": "ok", "result": result, "request_id": short_id()})))
}

/// `POST /topapi/v2/department/listsub`.
pub(crate) async fn sub_departments(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, Some("qyapi_get_department_list"))?;
    let root = arguments.text("dept_id").is_none_or(|id| id == "1");
    let state = world.state();
    let departments = state.companies.get(&app.corp_id).map(|c| c.departments.as_slice()).unwrap_or_default();
    let result: Vec<Value> = departments
        .iter()
        .filter(|_| root)
        .map(|(id, name)| {
            json!({"dept_id": id, "name": name, "parent_id": 1, "auto_add_user": true, "create_dept_group": true})
        })
        .collect();
    Ok(Json(json!({"errcode": 0, "errmsg": "ok", "result": result, "request_id": short_id()})))
}
