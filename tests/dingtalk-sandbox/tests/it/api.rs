//! Tokens, refusals and look-ups, body by body.

use dingtalk_sandbox::{AppSettings, Fault, FaultKind, NewApp, NewCompany, ScopeChange};
use serde_json::{Value, json};

use crate::client::{answer, call, http, old_call, sandbox, token};

/// A refusal without its request id.
fn plain(mut body: Value) -> Value {
    if let Some(object) = body.as_object_mut() {
        for name in ["requestid", "request_id"] {
            if let Some(id) = object.remove(name) {
                assert!(id.as_str().is_some_and(|id| !id.is_empty()));
            }
        }
    }
    body
}

#[tokio::test]
async fn every_way_to_ask_gives_the_same_token_until_it_expires() {
    let sandbox = sandbox().await;
    let (world, base) = (sandbox.world(), sandbox.base_url());
    let first = token(&sandbox).await;
    let query = [("appkey", &world.app_key), ("appsecret", &world.app_secret)];
    let (_, old) = answer(http().get(format!("{base}/gettoken")).query(&query)).await;
    assert_eq!((old["access_token"].as_str(), &old["expires_in"]), (Some(first.as_str()), &json!(7200)));
    let unified = json!({"client_id": world.app_key, "client_secret": world.app_secret, "grant_type": "client_credentials"});
    let (_, new) =
        answer(http().post(format!("{base}/v1.0/oauth2/{}/token", world.corp_id)).json(&unified)).await;
    assert_eq!(new["access_token"], json!(first));

    sandbox.expire_tokens();
    let url = format!("{base}/v1.0/contact/organizations/authInfos");
    let (status, body) = answer(http().get(&url).header("x-acs-dingtalk-access-token", &first)).await;
    assert_eq!((status, &body["code"]), (400, &json!("InvalidAuthentication")));
    let second = token(&sandbox).await;
    assert_ne!(first, second);
    let (status, body) = answer(http().get(&url).header("x-acs-dingtalk-access-token", &second)).await;
    assert_eq!((status, &body["orgName"]), (200, &json!("桥接示例科技")));
}

#[tokio::test]
async fn token_refusals_have_dingtalks_bodies() {
    let sandbox = sandbox().await;
    let (world, base) = (sandbox.world(), sandbox.base_url());
    let gettoken =
        |query: Vec<(&'static str, String)>| answer(http().get(format!("{base}/gettoken")).query(&query));
    let key = world.app_key.clone();
    assert_eq!(
        gettoken(vec![("appkey", "dingnobody".into()), ("appsecret", "x".into())]).await,
        (200, json!({"errcode": 40096, "errmsg": "不合法的appKey或appSecret"}))
    );
    assert_eq!(
        gettoken(vec![("appkey", key.clone()), ("appsecret", "x".into())]).await,
        (200, json!({"errcode": 40089, "errmsg": "不合法的corpId或corpSecret"}))
    );
    assert_eq!(
        gettoken(vec![]).await,
        (200, json!({"errcode": 40035, "errmsg": "缺少参数 corpid or appkey"}))
    );

    let url = format!("{base}/v1.0/oauth2/accessToken");
    let wrong = json!({"appKey": key, "appSecret": world.app_secret.to_lowercase()});
    let (status, body) = answer(http().post(&url).json(&wrong)).await;
    let expected = json!({"code": "invalidClientIdOrSecret", "message": "无效的clientId或者clientSecret"});
    assert_eq!((status, plain(body)), (400, expected));
    let form = http().post(&url).header("content-type", "application/x-www-form-urlencoded");
    let (status, body) = answer(form.body("appKey=a&appSecret=b")).await;
    assert_eq!((status, &body["code"]), (400, &json!("Missingbody")));

    let ask =
        json!({"client_id": key, "client_secret": world.app_secret, "grant_type": "client_credentials"});
    let unified =
        |corp: String, ask: Value| answer(http().post(format!("{base}/v1.0/oauth2/{corp}/token")).json(&ask));
    let (status, body) = unified("dingbogus".into(), ask.clone()).await;
    assert_eq!((status, &body["code"]), (500, &json!("unknownError")));
    let other = sandbox.make_company(&NewCompany { name: "别的公司".into(), auth_level: None });
    let (status, body) = unified(other.corp_id, ask).await;
    assert_eq!((status, &body["code"]), (401, &json!("unauthorized.client")));
}

#[tokio::test]
async fn missing_token_scope_address_and_path_are_refused_as_in_the_table() {
    let sandbox = sandbox().await;
    let (world, base) = (sandbox.world(), sandbox.base_url());
    let new = format!("{base}/v1.0/microApp/allInnerApps");
    let (status, body) = answer(http().get(&new)).await;
    assert_eq!((status, &body["code"]), (400, &json!("AuthenticationFailed.MissingParameter")));
    let (status, body) = answer(http().get(&new).bearer_auth(token(&sandbox).await)).await;
    assert_eq!((status, &body["code"]), (400, &json!("AuthenticationFailed.MissingParameter")));

    let old = format!("{base}/topapi/v2/user/get");
    let (status, body) = answer(http().post(format!("{old}?access_token=nonsense")).json(&json!({}))).await;
    let expected = json!({
        "errcode": 88, "sub_code": "40014", "sub_msg": "不合法的access_token",
        "errmsg": "ding talk error[subcode=40014,submsg=不合法的access_token]",
    });
    assert_eq!((status, plain(body)), (200, expected));
    let (_, body) = answer(http().post(&old).json(&json!({}))).await;
    assert_eq!(body["sub_code"], "40000");
    let (_, body) = answer(http().get(format!("{base}/chat/get?access_token=nonsense&chatid=c"))).await;
    assert_eq!(body, json!({"errcode": 40014, "errmsg": "不合法的access_token"}));

    let (status, body) = answer(http().get(format!("{base}/v1.0/nowhere"))).await;
    assert_eq!((status, body), (200, json!({"errcode": 404, "errmsg": "请求的URI地址不存在"})));
    let (status, body) = answer(http().get(format!("{base}/topapi/nowhere"))).await;
    assert_eq!((status, &body["errcode"]), (200, &json!(22)));

    let withdraw = vec!["Contact.Org.Read".to_owned(), "qyapi_get_member".to_owned()];
    sandbox.change_scopes(&world.app_key, &ScopeChange { withdraw, ..ScopeChange::default() }).unwrap();
    let infos = http().get(format!("{base}/v1.0/contact/organizations/authInfos"));
    let (status, body) = answer(infos.header("x-acs-dingtalk-access-token", token(&sandbox).await)).await;
    assert_eq!((status, &body["code"]), (403, &json!("Forbidden.AccessDenied.AccessTokenPermissionDenied")));
    assert_eq!(body["accessdenieddetail"]["requiredScopes"], json!(["Contact.Org.Read"]));
    let body = old_call(&sandbox, "/topapi/v2/user/get", &json!({"userid": "user0142"})).await;
    assert_eq!((&body["errcode"], &body["sub_code"]), (&json!(88), &json!("60011")));

    let closed = AppSettings { address_allowed: Some(false), ..AppSettings::default() };
    sandbox.set_app(&world.app_key, &closed).unwrap();
    let (status, body) = call(&sandbox, "/v1.0/robot/groupMessages/send", &json!({})).await;
    assert_eq!((status, &body["code"]), (403, &json!("Forbidden.AccessDenied.IpNotInWhiteList")));
    let body = old_call(&sandbox, "/topapi/v2/department/get", &json!({"dept_id": 1})).await;
    assert_eq!(body["sub_code"], "60020");
}

#[tokio::test]
async fn people_departments_and_apps_can_be_looked_up() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    let person = &world.people[0];
    let body = old_call(&sandbox, "/topapi/v2/user/get", &json!({"userid": person.staff_id})).await;
    assert_eq!(
        (&body["result"]["name"], &body["result"]["unionid"]),
        (&json!(person.name), &json!(person.union_id))
    );
    let body = old_call(&sandbox, "/topapi/v2/user/get", &json!({"userid": "nobody"})).await;
    assert_eq!(plain(body), json!({"errcode": 60121, "errmsg": "找不到该用户"}));
    let body = old_call(&sandbox, "/topapi/user/getbyunionid", &json!({"unionid": person.union_id})).await;
    assert_eq!(body["result"]["userid"], json!(person.staff_id));
    let body = old_call(&sandbox, "/topapi/v2/user/getbymobile", &json!({"mobile": "13800000142"})).await;
    assert_eq!(body["result"]["userid"], json!(person.staff_id));
    let page = json!({"dept_id": 1, "cursor": 0, "size": 3});
    let body = old_call(&sandbox, "/topapi/user/listsimple", &page).await;
    assert_eq!((&body["result"]["has_more"], &body["result"]["next_cursor"]), (&json!(true), &json!(3)));
    let body = old_call(&sandbox, "/topapi/v2/department/get", &json!({"dept_id": 1})).await;
    assert_eq!(body["result"]["name"], json!(world.organization));
    let request = http().get(format!("{}/v1.0/microApp/allInnerApps", sandbox.base_url()));
    let (_, body) = answer(request.header("x-acs-dingtalk-access-token", token(&sandbox).await)).await;
    assert_eq!(body["appList"][0]["agentId"].as_u64(), Some(world.agent_id));
    assert!(world.agent_id > u64::from(u32::MAX));
    assert_eq!(world.app_secret.len(), 64);
}

#[tokio::test]
async fn work_notices_need_the_apps_own_agent_id() {
    let sandbox = sandbox().await;
    let (world, path) = (sandbox.world(), "/topapi/message/corpconversation/asyncsend_v2");
    let msg = json!({"msgtype": "text", "text": {"content": "hello"}});
    let body = old_call(&sandbox, path, &json!({"userid_list": "user0142", "msg": msg})).await;
    assert_eq!(plain(body), json!({"errcode": 40, "errmsg": "Missing required arguments:agent_id"}));
    let foreign = sandbox.make_app(&NewApp { name: "别的应用".into(), corp_id: None }).unwrap().agent_id;
    let body =
        old_call(&sandbox, path, &json!({"agent_id": foreign, "userid_list": "user0142", "msg": msg})).await;
    assert_eq!(body["errcode"], 41020);
    let own = json!({"agent_id": world.agent_id, "userid_list": "user0142,nobody", "msg": msg});
    let body = old_call(&sandbox, path, &own).await;
    assert_eq!(body["errcode"], 0);
    assert_eq!(sandbox.sent(0)[0].chat_id, "work/user0142");
    let progress = json!({"agent_id": world.agent_id, "task_id": body["task_id"]});
    let path = "/topapi/message/corpconversation/getsendprogress";
    assert_eq!(old_call(&sandbox, path, &progress).await["progress"]["status"], 2);
    let progress = json!({"agent_id": foreign, "task_id": body["task_id"]});
    assert_eq!(old_call(&sandbox, path, &progress).await["errcode"], 40035);
}

#[tokio::test]
async fn throttling_comes_in_each_form_and_other_faults_strike_where_told() {
    let sandbox = sandbox().await;
    let path = "/v1.0/robot/groupMessages/send";
    for (form, status, code) in [
        ("qps", 403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"),
        ("month", 403, "Forbidden.AccessDenied.ApiCountLimitForOrg"),
        ("send", 400, "send.too.fast"),
    ] {
        sandbox.add_fault(Fault::new(path, FaultKind::Throttle).form(form).count(1));
        let (seen, body) = call(&sandbox, path, &json!({})).await;
        assert_eq!((seen, &body["code"]), (status, &json!(code)));
    }
    for (form, errcode) in [("qps", 90018), ("api", 90002), ("month", 90020)] {
        sandbox.add_fault(Fault::new("/topapi", FaultKind::Throttle).form(form).count(1));
        assert_eq!(old_call(&sandbox, "/topapi/v2/user/get", &json!({})).await["errcode"], errcode);
    }
    sandbox.add_fault(Fault::new("/topapi", FaultKind::Status).value(502).count(1));
    let (status, _) = answer(http().post(format!("{}/topapi/v2/user/get", sandbox.base_url()))).await;
    assert_eq!(status, 502);
    sandbox.add_fault(Fault::new("/gettoken", FaultKind::Cut).count(1));
    let cut = http().get(format!("{}/gettoken", sandbox.base_url())).send().await;
    assert!(cut.is_err(), "{cut:?}");
    let (_, body) = answer(http().get(format!("{}/gettoken", sandbox.base_url()))).await;
    assert_eq!(body["errcode"], 40035);
}
