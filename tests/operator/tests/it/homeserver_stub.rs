//! Homeservers, one per workspace below a path of its own: `whoami`, and the admin API for application services as
//! Palpo has it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};

/// The token of every admin.
pub(crate) const ADMIN_TOKEN: &str = "an-admin";

/// One homeserver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Homeserver {
    /// Whether `whoami` knows only tokens of registrations that were read at its start.
    pub(crate) needs_restart: bool,
    /// What a registration is refused with.
    pub(crate) refuses: Option<String>,
    /// Whether it answers 500 to everything.
    pub(crate) is_broken: bool,
    /// Whether what is taken away is, and nobody is told.
    pub(crate) is_silent: bool,
    /// Registrations by their id, and whether they are enabled.
    pub(crate) registrations: BTreeMap<String, (Value, bool)>,
    /// How often `whoami` was asked.
    pub(crate) whoami: usize,
    /// Calls of the admin API, such as `POST`.
    pub(crate) calls: Vec<String>,
}

/// All homeservers.
#[derive(Clone, Default)]
pub(crate) struct Homeservers {
    all: Arc<Mutex<HashMap<String, Homeserver>>>,
}

type Answer = (StatusCode, Json<Value>);

fn refusal(status: StatusCode, code: &str, error: &str) -> Answer {
    (status, Json(json!({"errcode": code, "error": error})))
}

impl Homeservers {
    /// Serves them; answers the port.
    pub(crate) async fn serve(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new()
            .route("/{of}/_matrix/client/v3/account/whoami", get(whoami))
            .route("/{of}/_synapse/admin/v1/appservices", post(register))
            .route("/{of}/_synapse/admin/v1/appservices/{id}", get(look).delete(remove))
            .route("/{of}/_synapse/admin/v1/appservices/{id}/{switch}", post(switch))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        port
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Homeserver>> {
        self.all.lock().unwrap()
    }

    /// Looks at the homeserver of a workspace, or changes it.
    pub(crate) fn with<T>(&self, of: &str, change: impl FnOnce(&mut Homeserver) -> T) -> T {
        change(self.lock().entry(of.to_owned()).or_default())
    }

    /// A call of the admin API, if the caller may make it.
    fn admin(
        &self,
        of: &str,
        headers: &HeaderMap,
        call: &str,
        answer: impl FnOnce(&mut Homeserver) -> Answer,
    ) -> Answer {
        self.with(of, |homeserver| {
            if homeserver.is_broken {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "out of order");
            }
            if token(headers) != ADMIN_TOKEN {
                return refusal(StatusCode::FORBIDDEN, "M_FORBIDDEN", "not an admin");
            }
            homeserver.calls.push(call.to_owned());
            answer(homeserver)
        })
    }
}

fn token(headers: &HeaderMap) -> &str {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.strip_prefix("Bearer ").unwrap_or_default()
}

async fn whoami(State(all): State<Homeservers>, Path(of): Path<String>, headers: HeaderMap) -> Answer {
    all.with(&of, |homeserver| {
        homeserver.whoami += 1;
        if homeserver.is_broken {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "out of order");
        }
        if homeserver.needs_restart || token(&headers).is_empty() {
            return refusal(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "unknown token");
        }
        (StatusCode::OK, Json(json!({"user_id": "@somebody:homeserver"})))
    })
}

async fn register(
    State(all): State<Homeservers>,
    Path(of): Path<String>,
    headers: HeaderMap,
    Json(registration): Json<Value>,
) -> Answer {
    all.admin(&of, &headers, "POST", |homeserver| {
        if let Some(words) = &homeserver.refuses {
            return refusal(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", words);
        }
        let id = registration["id"].as_str().unwrap_or_default().to_owned();
        if homeserver.registrations.contains_key(&id) {
            return refusal(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", "the id exists");
        }
        homeserver.registrations.insert(id, (registration, true));
        (StatusCode::OK, Json(json!({})))
    })
}

fn unknown() -> Answer {
    refusal(StatusCode::NOT_FOUND, "M_NOT_FOUND", "no such id")
}

async fn look(
    State(all): State<Homeservers>,
    Path((of, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    all.admin(&of, &headers, "GET", |homeserver| match homeserver.registrations.get(&id) {
        Some((registration, enabled)) => {
            let mut shown = registration.clone();
            shown["enabled"] = json!(enabled);
            (StatusCode::OK, Json(shown))
        }
        None => unknown(),
    })
}

async fn remove(
    State(all): State<Homeservers>,
    Path((of, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let answer =
        all.admin(&of, &headers, "DELETE", |homeserver| match homeserver.registrations.remove(&id) {
            Some(_) => (StatusCode::OK, Json(json!({}))),
            None => unknown(),
        });
    if all.with(&of, |homeserver| homeserver.is_silent) {
        return std::future::pending().await;
    }
    answer
}

async fn switch(
    State(all): State<Homeservers>,
    Path((of, id, switch)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    all.admin(&of, &headers, &switch, |homeserver| match homeserver.registrations.get_mut(&id) {
        Some((_, enabled)) => {
            *enabled = switch == "enable";
            (StatusCode::OK, Json(json!({})))
        }
        None => unknown(),
    })
}
