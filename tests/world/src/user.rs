//! A person on the Matrix side: an account and its client.

use std::{ops::Deref, time::Duration};

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{MatrixClient, MatrixError, UserSession};

/// A logged-in user. Whatever the client can do, the user can.
#[derive(Clone, Debug)]
pub struct User {
    session: UserSession,
    client: MatrixClient,
}

impl User {
    pub(crate) async fn new(homeserver_url: &str, session: UserSession) -> anyhow::Result<Self> {
        let client = MatrixClient::from_session(homeserver_url, &session)?;
        let localpart = session.user_id.trim_start_matches('@').split(':').next().unwrap_or_default();
        client.set_display_name(&capitalised(localpart)).await?;
        Ok(Self { session, client })
    }

    /// Password for any client.
    pub fn password(&self) -> &str {
        &self.session.password
    }

    /// What a member of a room is called there.
    pub async fn name_of(&self, room_id: &str, user_id: &str) -> anyhow::Result<Option<String>> {
        let members = self.client.joined_members(room_id).await?;
        Ok(members.get(user_id).and_then(|member| member.display_name.clone()))
    }
}

impl User {
    /// Waits for the invitation to a 1:1 room of a ghost's, and accepts it.
    pub async fn accept_invitation_of(&self, ghost: &str, limit: Duration) -> anyhow::Result<String> {
        let invited = |_: &str, state: &[Value]| {
            state.iter().any(|event| {
                event["type"] == "m.room.member"
                    && event["state_key"] == self.client.user_id()
                    && event["sender"] == ghost
                    && event["content"]["is_direct"] == true
            })
        };
        let room = self.client.wait_for_invitation(limit, invited).await?;
        self.client.join(&room).await
    }
}

impl Deref for User {
    type Target = MatrixClient;

    fn deref(&self) -> &MatrixClient {
        &self.client
    }
}

/// Makes an account at a homeserver that lets everybody register.
pub(crate) async fn register(
    homeserver_url: &str,
    name: &str,
    password: &str,
) -> anyhow::Result<UserSession> {
    let nobody = MatrixClient::from_token(homeserver_url, "", "")?;
    let account = json!({"username": name, "password": password, "auth": {"type": "m.login.dummy"}});
    let answer = test_support::wait_until(Duration::from_mins(1), "the homeserver's limit", async || {
        match nobody.request(Method::POST, &["v3", "register"], &[], Some(&account)).await {
            // People's clients wait, too.
            Err(error) if error.downcast_ref::<MatrixError>().is_some_and(|error| error.status == 429) => {
                None
            }
            outcome => Some(outcome),
        }
    });
    let answer = answer.await.flatten().with_context(|| format!("registering {name}"))?;
    let text = |key: &str| answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
    Ok(UserSession {
        user_id: text("user_id")?,
        access_token: text("access_token")?,
        password: password.to_owned(),
        device_id: text("device_id")?,
    })
}

/// The text of a message.
pub(crate) fn body(event: &Value) -> &str {
    event["content"]["body"].as_str().unwrap_or_default()
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_called_by_their_name() {
        assert_eq!(capitalised("alice"), "Alice");
        assert_eq!(capitalised(""), "");
    }
}
