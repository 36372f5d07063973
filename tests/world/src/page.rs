//! A page on which a person reads and writes a bridged room in a browser: no registry ships a Matrix client that
//! needs no build. It passes `/_matrix/` on to the homeserver, so that the browser sees one origin.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
    routing::{any, get},
};
use serde::Serialize;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// Largest request that is passed on.
const LARGEST_REQUEST: usize = 1 << 20;

/// Nothing but the page's own parts is loaded or called, and files that it asked for with a token.
const POLICY: &str = "default-src 'self'; style-src 'unsafe-inline'; img-src blob:; media-src blob:; \
                      frame-ancestors 'none'";

/// Whom the page speaks for, and where.
#[derive(Clone, Debug)]
pub struct PageSettings {
    /// Address of the homeserver.
    pub homeserver_url: String,
    /// Who reads and writes; the first is chosen when the page opens.
    pub users: Vec<PageUser>,
}

/// A user of the page.
#[derive(Clone, Debug, Serialize)]
pub struct PageUser {
    /// The full user id.
    pub user_id: String,
    /// That user's token; whoever opens the page has it.
    pub access_token: String,
}

/// A page that is being served on the loopback interface; it ends when this is dropped.
#[derive(Debug)]
pub struct Page {
    url: String,
    server: JoinHandle<()>,
}

impl Page {
    /// Serves the page on a free port.
    pub async fn serve(settings: PageSettings) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let shared = Arc::new(Shared { client: crate::http_client()?, settings });
        let router = Router::new()
            .route("/", get(index))
            .route("/page.js", get(|| async { script(include_str!("page/page.js")) }))
            .route("/content.js", get(|| async { script(include_str!("page/content.js")) }))
            .route("/settings.json", get(for_browser))
            .route("/_matrix/{*rest}", any(pass_on))
            .with_state(shared);
        let server = tokio::spawn(async move {
            // It serves until the task is aborted; there is no other end.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, server })
    }

    /// Where a browser finds it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Shared {
    client: reqwest::Client,
    settings: PageSettings,
}

async fn index() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(include_str!("page/index.html"))).into_response()
}

fn script(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

async fn for_browser(State(shared): State<Arc<Shared>>) -> Response {
    let settings = Json(json!({"users": shared.settings.users}));
    ([(header::CACHE_CONTROL, "no-store")], settings).into_response()
}

async fn pass_on(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match answer_of_homeserver(&shared, method, &uri, &headers, body).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, Json(json!({"error": format!("{error:#}")}))).into_response(),
    }
}

async fn answer_of_homeserver(
    shared: &Shared,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> anyhow::Result<Response> {
    let path = uri.path_and_query().context("no path")?.as_str();
    let body = axum::body::to_bytes(body, LARGEST_REQUEST).await.context("reading the request")?;
    let url = format!("{}{path}", shared.settings.homeserver_url.trim_end_matches('/'));
    let mut request = shared.client.request(method, url).body(body);
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.context("the homeserver does not answer")?;
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
    let bytes = answer.bytes().await.context("the homeserver's answer broke off")?;
    // A file that is opened by its address runs nothing in the page's name.
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    ];
    Ok((status, headers, bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A homeserver that repeats what it was asked, and with which token.
    async fn echo() -> String {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router =
            Router::new().fallback(|method: Method, uri: Uri, headers: HeaderMap, body: String| async move {
                let token = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
                (StatusCode::CREATED, Json(json!([method.as_str(), uri.to_string(), token, body])))
            });
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn the_browser_reaches_the_homeserver_through_the_page_and_nothing_else_of_it() {
        let settings = PageSettings {
            homeserver_url: echo().await,
            users: vec![PageUser {
                user_id: "@alice:demo.localhost".to_owned(),
                access_token: "secret".to_owned(),
            }],
        };
        let page = Page::serve(settings).await.unwrap();
        let client = crate::http_client().unwrap();

        let path = "_matrix/client/v3/rooms/%21a%3Ademo.localhost/send/m.room.message/1?x=%2F";
        let request = client.put(format!("{}{path}", page.url())).bearer_auth("secret").body("{}");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer, json!(["PUT", format!("/{path}"), "Bearer secret", "{}"]));

        let elsewhere =
            client.get(format!("{}_synapse/admin/v1/server_version", page.url())).send().await.unwrap();
        assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
        let settings = client.get(format!("{}settings.json", page.url())).send().await.unwrap();
        let settings: serde_json::Value = settings.json().await.unwrap();
        assert_eq!(settings["users"][0]["user_id"], "@alice:demo.localhost");
    }
}
