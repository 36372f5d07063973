use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use bridge_core::clock::Timestamp;
use bridge_core::id::{RobotCode, StaffId};
use futures_util::future::join_all;

use super::server::{Reply, Seen, Server};
use super::*;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

const TOKEN: &str = include_str!("../../samples/api-accesstoken.ok.json");
const SENT: &str = include_str!("../../samples/api-groupmessages-send.ok.json");
const BAD_TOKEN: &str = include_str!("../../samples/api-new-bad-token.400.json");
const DENIED: &str = include_str!("../../samples/api-new-no-permission.403.json");

fn options(base: &str) -> ClientOptions {
    ClientOptions {
        old_base: base.to_owned(),
        new_base: base.to_owned(),
        total_timeout: Duration::from_millis(400),
        ..ClientOptions::default()
    }
}

fn credentials() -> Credentials {
    Credentials { app_key: "dingqx7made0up1key2z".into(), app_secret: Secret::new("s3cr3t") }
}

fn client_at(base: &str) -> (Client, Arc<TestClock>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Arc::new(TestClock(AtomicI64::new(1_758_800_000_000)));
    let client = Client::new(&options(base), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    client.set_credentials(Some(credentials()));
    (client, clock)
}

fn is_token(seen: &Seen) -> bool {
    seen.line.contains("/v1.0/oauth2/accessToken")
}

fn ok(body: &str) -> Reply {
    Reply::Json(200, body.to_owned())
}

/// A server that gives out tokens and answers everything else by `answer`.
async fn with_tokens(
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Server, Client, Arc<TestClock>) {
    let server = Server::start(move |seen| if is_token(seen) { ok(TOKEN) } else { answer(seen) }).await;
    let (client, clock) = client_at(&server.base);
    (server, client, clock)
}

#[tokio::test]
async fn concurrent_calls_share_one_token() {
    let (server, client, _) = with_tokens(|_| ok(SENT)).await;
    let sent = join_all((0..20).map(|_| async { client.send_group(b"{}", &Gate::open()).await })).await;
    assert!(sent.iter().all(|key| key.as_ref().unwrap().as_str() == "mAdEuPpQkEyGroup0001=="));
    assert_eq!((server.seen("accessToken").len(), server.seen("groupMessages/send").len()), (1, 20));
    let request = &server.seen("groupMessages/send")[0];
    assert!(request.line.starts_with("POST /v1.0/robot/groupMessages/send "));
    assert!(request.headers.contains("x-acs-dingtalk-access-token: fedcmade9876up54321fedcba9876543"));
    assert!(request.headers.contains("content-type: application/json"));
    let token = &server.seen("accessToken")[0].body;
    assert_eq!(token, r#"{"appKey":"dingqx7made0up1key2z","appSecret":"s3cr3t"}"#);
}

#[tokio::test]
async fn a_failed_token_request_fails_all_who_waited() {
    let refused = include_str!("../../samples/api-accesstoken.400.json");
    let server = Server::start(|_| Reply::Json(400, refused.to_owned())).await;
    let (client, _) = client_at(&server.base);
    let outcomes = join_all((0..20).map(|_| async { client.send_group(b"{}", &Gate::open()).await })).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap_err().class == Class::BadCredentials));
    assert_eq!(server.seen("").len(), 1);
    assert_eq!(client.ping().await.unwrap_err().class, Class::BadCredentials);
    assert_eq!(server.seen("").len(), 2);
}

#[tokio::test]
async fn tokens_are_replaced_before_they_end() {
    let broken = Arc::new(AtomicUsize::new(0));
    let failing = Arc::clone(&broken);
    let server = Server::start(move |seen| match () {
        () if is_token(seen) && failing.load(Ordering::SeqCst) == 1 => Reply::Json(500, "{}".into()),
        () if is_token(seen) => ok(TOKEN),
        () => ok(SENT),
    })
    .await;
    let (client, clock) = client_at(&server.base);
    let forward = |seconds: i64| clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    forward(7200 - 301);
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!(server.seen("accessToken").len(), 1);
    forward(2);
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!(server.seen("accessToken").len(), 2);

    // One that cannot be replaced early still serves, and is not asked for on every call.
    broken.store(1, Ordering::SeqCst);
    forward(7200 - 200);
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!(server.seen("accessToken").len(), 3);
    assert_eq!(client.ping().await.unwrap_err().class, Class::Retry);
    forward(300);
    assert_eq!(client.send_group(b"{}", &Gate::open()).await.unwrap_err().class, Class::Retry);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (server, client, _) = with_tokens(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        1 => ok(SENT),
        _ => Reply::Json(400, BAD_TOKEN.to_owned()),
    })
    .await;
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!((server.seen("accessToken").len(), server.seen("send").len()), (2, 2));
    assert_eq!(client.send_group(b"{}", &Gate::open()).await.unwrap_err().class, Class::TokenExpired);
    assert_eq!((server.seen("accessToken").len(), server.seen("send").len()), (3, 4));
}

#[tokio::test]
async fn other_credentials_bring_another_token() {
    let (server, client, _) = with_tokens(|_| ok(SENT)).await;
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    client.set_credentials(Some(credentials()));
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!(server.seen("accessToken").len(), 1);
    client.set_credentials(None);
    let error = client.send_group(b"{}", &Gate::open()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.class), (code::NO_CREDENTIALS, Class::BadCredentials));
    client.set_credentials(Some(credentials()));
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!(server.seen("accessToken").len(), 2);
}

/// The class of a send and of a read that meet `answer`, and how often each arrived.
async fn outcomes(answer: fn() -> Reply) -> (Class, Class, usize) {
    let (server, client, _) = with_tokens(move |_| answer()).await;
    let send = client.send_group(b"{}", &Gate::open()).await.unwrap_err().class;
    let read = client.user(&StaffId::parse("user0142").unwrap()).await.unwrap_err().class;
    (send, read, server.seen("groupMessages/send").len())
}

#[tokio::test]
async fn a_lost_answer_may_have_been_sent_and_is_not_repeated() {
    let unclear = (Class::MaybeSent, Class::Retry, 1);
    assert_eq!(outcomes(|| Reply::Close).await, unclear);
    assert_eq!(outcomes(|| Reply::Hang).await, unclear);
    assert_eq!(
        outcomes(|| Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into())).await,
        unclear
    );
    assert_eq!(outcomes(|| Reply::Raw("HTTP/1.1 200 OK\r\nconte".into())).await, unclear);
    assert_eq!(outcomes(|| Reply::Raw("nonsense\r\n\r\n".into())).await, unclear);
    assert_eq!(outcomes(|| Reply::Json(200, "not JSON".into())).await, unclear);
    assert_eq!(outcomes(|| Reply::Json(200, "{}".into())).await, unclear);
    assert_eq!(outcomes(|| Reply::Json(504, String::new())).await, unclear);
    assert_eq!(outcomes(|| Reply::Json(200, " ".repeat(MAX_ANSWER_BYTES + 1))).await, unclear);
}

#[tokio::test]
async fn a_connection_that_never_stood_sent_nothing() {
    let (server, client, _) = with_tokens(|_| ok(SENT)).await;
    client.ping().await.unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let (other, _) = client_at(&base);
    let error = other.send_group(b"{}", &Gate::open()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.class), (code::NOT_CONNECTED, Class::Retry));
    assert_eq!(error.message, "connection refused");

    // The same for a reply address, which needs no token.
    let gone = Secret::new(format!("{base}/robot/sendBySession?session=0a1b"));
    let error = other.post_session(&gone, b"{}", &Gate::open()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.class), (code::NOT_CONNECTED, Class::Retry));
    assert!(!format!("{error:?}").contains("0a1b"));
    drop(server);
}

#[tokio::test]
async fn a_reused_connection_that_dies_is_unclear() {
    let calls = AtomicUsize::new(0);
    let (server, client, _) =
        with_tokens(move |_| if calls.fetch_add(1, Ordering::SeqCst) == 0 { ok(SENT) } else { Reply::Close })
            .await;
    client.send_group(b"{}", &Gate::open()).await.unwrap();
    assert_eq!(client.send_group(b"{}", &Gate::open()).await.unwrap_err().class, Class::MaybeSent);
    assert_eq!(server.seen("send").len(), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (server, client, _) = with_tokens(|seen| {
        if seen.line.contains("elsewhere") {
            return ok(SENT);
        }
        Reply::Raw("HTTP/1.1 307 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".into())
    })
    .await;
    let error = client.send_group(b"{}", &Gate::open()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.class), ("http.307", Class::WrongData));
    assert!(server.seen("elsewhere").is_empty());
}

#[tokio::test]
async fn a_direct_send_tells_who_got_nothing() {
    let answer = include_str!("../../samples/api-otomessages-batchsend.ok.json");
    let (_server, client, _) = with_tokens(move |_| ok(answer)).await;
    let sent = client.send_direct(b"{}", &Gate::open()).await.unwrap();
    let failure = |id: &str| sent.failure_for(&StaffId::parse(id).unwrap()).map(|error| error.class);
    assert_eq!(failure("user0142"), None);
    assert_eq!(failure("nobody"), Some(Class::UserGone));
    assert_eq!(failure("user0143"), Some(Class::Throttled { retry_after: crate::error::SHORT_THROTTLE }));
}

#[tokio::test]
async fn reply_addresses_are_dingtalks_own() {
    let expired = include_str!("../../samples/api-sessionwebhook.expired.json");
    let (server, client, _) = with_tokens(move |seen| {
        if seen.line.contains("session=new") { ok(r#"{"errcode":0,"errmsg":"ok"}"#) } else { ok(expired) }
    })
    .await;
    let post = async |address: String| {
        client.post_session(&Secret::new(address), br#"{"a":1}"#, &Gate::open()).await
    };
    post(format!("{}/robot/sendBySession?session=new", server.base)).await.unwrap();
    let error = post(format!("{}/robot/sendBySession?session=old", server.base)).await.unwrap_err();
    assert_eq!(error.class, Class::SessionGone);
    let other = Server::start(|_| ok("{}")).await;
    let error = post(format!("{}/robot/sendBySession?session=new", other.base)).await.unwrap_err();
    assert_eq!(error.code, code::ADDRESS_NOT_ALLOWED);
    assert!(other.seen("").is_empty() && server.seen("accessToken").is_empty());
    assert!(!server.seen("session=new")[0].headers.contains("access-token"));
}

#[tokio::test]
async fn users_are_read_leniently() {
    let (server, client, _) = with_tokens(|seen| {
        ok(match () {
            () if seen.body.contains("user0142") => include_str!("../../samples/api-user-get.ok.json"),
            () if seen.body.contains("plain") => r#"{"errcode":"0","result":{"name":7,"avatar":""}}"#,
            () => include_str!("../../samples/api-user-get.not-found.json"),
        })
    })
    .await;
    let user = async |id: &str| client.user(&StaffId::parse(id).unwrap()).await;
    let found = user("user0142").await.unwrap();
    assert_eq!(found.name, "林小桥");
    assert_eq!(found.avatar.as_deref(), Some("https://static-legacy.dingtalk.com/media/madeup_60_60.png"));
    assert_eq!(user("plain").await.unwrap(), User { name: "7".into(), avatar: None });
    assert_eq!(user("nobody").await.unwrap_err().class, Class::UserGone);
    assert!(server.seen("user/get")[0].line.contains("?access_token=fedcmade9876up54321fedcba9876543 "));
}

/// Answers to the calls of a login: organisation, root department, list of apps.
async fn login(answers: [(u16, &'static str); 3], agent_id: u64) -> Result<LoginInfo, LoginError> {
    let (_server, client, _) = with_tokens(move |seen| {
        let (status, body) = match () {
            () if seen.line.contains("authInfos") => answers[0],
            () if seen.line.contains("department/get") => answers[1],
            () => answers[2],
        };
        Reply::Json(status, body.to_owned())
    })
    .await;
    client.set_credentials(None);
    client.check_login(&credentials(), agent_id).await
}

#[tokio::test]
async fn a_login_tells_the_organisation_and_checks_the_agent() {
    const NAME: (u16, &str) = (200, include_str!("../../samples/api-authinfos.ok.json"));
    const ROOT: (u16, &str) = (200, include_str!("../../samples/api-department-get-root.ok.json"));
    const APPS: (u16, &str) = (200, include_str!("../../samples/api-allinnerapps.ok.json"));
    const OLD_DENIED: (u16, &str) = (200, include_str!("../../samples/api-old-no-permission.json"));
    const NO: (u16, &str) = (403, DENIED);
    const BUSY: (u16, &str) = (500, r#"{"code":"systemBusy"}"#);
    let info = login([NAME, ROOT, APPS], 3_141_592_653).await.unwrap();
    assert_eq!((info.organisation.as_str(), info.agent_checked), ("桥接示例科技", true));
    assert_eq!(info.robot, RobotCode::parse("dingqx7made0up1key2z").unwrap());

    assert_eq!(login([NAME, ROOT, APPS], 7).await, Err(LoginError::ForeignAgent));
    assert_eq!(login([NAME, ROOT, (200, r#"{"appList":[]}"#)], 7).await, Err(LoginError::ForeignAgent));
    assert!(!login([NAME, ROOT, NO], 7).await.unwrap().agent_checked);
    assert!(!login([NAME, ROOT, BUSY], 7).await.unwrap().agent_checked);
    let unproven = r#"{"appList":[{"agentId":"7"}]}"#;
    assert!(!login([NAME, ROOT, (200, unproven)], 7).await.unwrap().agent_checked);

    assert_eq!(login([NO, ROOT, APPS], 3_141_592_653).await.unwrap().organisation, "桥接示例科技");
    let scope = "qyapi_robot_sendmsg".to_owned();
    let missing = LoginError::MissingScope { scope, what: "organisation" };
    assert_eq!(login([NO, OLD_DENIED, APPS], 7).await, Err(missing));
    let address = (403, r#"{"code":"Forbidden.AccessDenied.IpNotInWhiteList"}"#);
    assert_eq!(login([address, ROOT, APPS], 7).await, Err(LoginError::IpNotAllowed));
    let quick = (403, include_str!("../../samples/api-new-qps.403.json"));
    assert_eq!(login([quick, ROOT, APPS], 7).await, Err(LoginError::Throttled));
    let odd = (400, r#"{"code":"somethingNew"}"#);
    assert_eq!(
        login([odd, ROOT, APPS], 7).await,
        Err(LoginError::Unexpected { code: "somethingNew".into() })
    );
}

#[tokio::test]
async fn a_login_that_cannot_succeed_says_why() {
    let refused = include_str!("../../samples/api-accesstoken.400.json");
    let server = Server::start(|_| Reply::Json(400, refused.to_owned())).await;
    let (client, _) = client_at(&server.base);
    assert_eq!(client.check_login(&credentials(), 7).await, Err(LoginError::InvalidPair));
    let spaced = Credentials { app_key: " a".into(), ..credentials() };
    assert_eq!(client.check_login(&spaced, 7).await, Err(LoginError::InvalidPair));
    let server = Server::start(|_| Reply::Hang).await;
    let (client, _) = client_at(&server.base);
    assert_eq!(client.check_login(&credentials(), 7).await, Err(LoginError::Network("timed out".into())));
}

#[test]
fn credentials_do_not_print() {
    assert!(!format!("{:?}", credentials()).contains("s3cr3t"));
}

#[tokio::test]
async fn a_message_whose_gate_stays_shut_was_not_sent() {
    let (server, client, _) = with_tokens(|_| ok(SENT)).await;
    let shut = Gate::new(async { false });
    let error = client.send_group(b"{\"a\":1}", &shut).await.unwrap_err();
    assert_eq!(error.class, Class::Retry);
    // Longer than the client waits: the time runs out before anything was sent.
    let slow = Gate::new(std::future::pending());
    let error = client.send_group(b"{\"a\":1}", &slow).await.unwrap_err();
    assert_eq!(error.class, Class::Retry);
    assert!(!slow.was_opened());
    drop(server);
}

#[tokio::test]
async fn a_gate_asks_once_for_all_tries() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&calls);
    let (_server, client, _) = with_tokens(|_| ok(SENT)).await;
    let gate = Gate::new(async move {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        true
    });
    client.send_group(b"{\"a\":1}", &gate).await.unwrap();
    client.send_group(b"{\"a\":1}", &gate).await.unwrap();
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

fn robot() -> RobotCode {
    RobotCode::parse("dingqx7made0up1key2z").unwrap()
}

#[tokio::test]
async fn a_file_is_fetched_where_its_code_says() {
    use futures_util::TryStreamExt;
    let base = Arc::new(std::sync::OnceLock::<String>::new());
    let here = Arc::clone(&base);
    let gone = include_str!("../../samples/api-messagefiles-download.400.json");
    let (server, client, _) = with_tokens(move |seen| match () {
        () if seen.line.contains("/_files/there") => ok("bytes"),
        () if seen.line.contains("/_files/") => Reply::Json(403, String::new()),
        () if seen.body.contains("\"there\"") => {
            ok(&format!("{{\"downloadUrl\":\"{}/_files/there?Expires=1\"}}", here.get().unwrap()))
        }
        () => Reply::Json(400, gone.to_owned()),
    })
    .await;
    base.set(server.base.clone()).unwrap();
    let address = client.download_address(&robot(), "there").await.unwrap();
    let asked = &server.seen("messageFiles/download")[0];
    assert_eq!(asked.body, r#"{"downloadCode":"there","robotCode":"dingqx7made0up1key2z"}"#);
    let fetched = client.fetch(&address).await.unwrap();
    assert_eq!(fetched.length, Some(5));
    assert_eq!(fetched.body.try_collect::<Vec<_>>().await.unwrap().concat(), b"bytes");
    assert!(!server.seen("/_files/")[0].headers.contains("token"), "the address needs no token");

    assert!(client.download_address(&robot(), "gone").await.unwrap_err().is_code_gone());
    let expired = Secret::new(format!("{}/_files/expired", server.base));
    assert!(client.fetch(&expired).await.unwrap_err().is_code_gone());
}

#[tokio::test]
async fn no_file_is_fetched_from_elsewhere() {
    let (client, _) = client_at("http://127.0.0.1:9");
    for address in ["http://127.0.0.1:10/a", "https://evil.example/a", "http://169.254.169.254/latest"] {
        let error = client.fetch(&Secret::new(address)).await.unwrap_err();
        assert_eq!(error.code, code::FILE_NOT_ALLOWED, "{address}");
        let error = client.picture(address).await.unwrap_err();
        assert_eq!(error.code, code::FILE_NOT_ALLOWED, "{address}");
    }
    // A name below an allowed domain that leads inside.
    let mut options = options("http://127.0.0.1:9");
    options.file_hosts = vec!["localhost.localdomain".to_owned(), "ip6-localhost.localdomain".to_owned()];
    let clock: Arc<dyn Clock> = Arc::new(TestClock(AtomicI64::new(0)));
    let client = Client::new(&options, clock).unwrap();
    let error = client.fetch(&Secret::new("http://localhost.localdomain/a")).await.unwrap_err();
    assert!(error.code == code::FILE_NOT_ALLOWED || error.message == "host name not found", "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (server, client, _) = with_tokens(|_| Reply::Json(302, String::new())).await;
    let address = format!("{}/_files/elsewhere", server.base);
    assert_eq!(client.fetch(&Secret::new(&*address)).await.unwrap_err().code, code::FILE_NOT_ALLOWED);
    assert_eq!(client.picture(&address).await.unwrap_err().code, code::FILE_NOT_ALLOWED);
}

#[tokio::test]
async fn a_picture_is_bounded_and_known_by_its_bytes() {
    let (server, client, _) = with_tokens(|seen| match () {
        () if seen.line.contains("/good") => ok("GIF89a and so on"),
        () if seen.line.contains("/large") => ok(&"GIF8".repeat(MAX_ANSWER_BYTES / 4 + 1)),
        () if seen.line.contains("/page") => ok("<html>"),
        () => Reply::Json(403, String::new()),
    })
    .await;
    let at = |name: &str| format!("{}/{name}", server.base);
    let picture = client.picture(&at("good")).await.unwrap();
    assert_eq!((picture.content_type, &*picture.bytes), ("image/gif", &b"GIF89a and so on"[..]));
    assert!(!server.seen("/good")[0].headers.contains("token"), "the address needs no token");
    for (name, expected) in
        [("large", code::ANSWER_TOO_LARGE), ("page", code::ANSWER_UNREADABLE), ("gone", code::FILE_GONE)]
    {
        let error = client.picture(&at(name)).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.class), (expected, Class::WrongData), "{name}");
    }
}

#[tokio::test]
async fn an_upload_is_a_form_with_one_file() {
    use futures_util::{StreamExt, stream};
    let answers = Arc::new(AtomicUsize::new(0));
    let ours = include_str!("../../samples/api-media-upload.ok.json");
    let big = include_str!("../../samples/api-media-upload.too-big.json");
    let stale = include_str!("../../samples/api-old-bad-token-flat.json");
    let (server, client, _) =
        with_tokens(move |_| ok([ours, big, stale][answers.fetch_add(1, Ordering::SeqCst).min(2)])).await;
    let upload = || {
        let chunks = ["by", "tes"].map(|chunk| Ok(bytes::Bytes::from_static(chunk.as_bytes())));
        client.upload(Upload {
            kind: crate::wire::upload::UploadKind::File,
            name: "报告\".pdf",
            content_type: "application/pdf",
            length: Some(5),
            body: stream::iter(chunks).boxed(),
            boundary: "b0undary",
        })
    };
    assert_eq!(upload().await.unwrap(), "@lADPDmadeUpMediaId0001");
    let seen = &server.seen("media/upload")[0];
    assert!(
        seen.line.starts_with("POST /media/upload?access_token=fedcmade9876up54321fedcba9876543&type=file ")
    );
    assert!(seen.headers.contains("content-type: multipart/form-data; boundary=b0undary"));
    let body = "--b0undary\r\nContent-Disposition: form-data; name=\"media\"; filename=\"报告_.pdf\"\r\n\
        Content-Type: application/pdf\r\n\r\nbytes\r\n--b0undary--\r\n";
    assert_eq!(seen.body, body);
    assert!(seen.headers.contains(&format!("content-length: {}", body.len())));

    assert!(upload().await.unwrap_err().is_file_refused());
    assert_eq!(upload().await.unwrap_err().class, Class::TokenExpired);
    upload().await.unwrap_err();
    assert_eq!(server.seen("accessToken").len(), 2, "the refused token is forgotten");
}
