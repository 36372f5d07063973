//! Users of the registration: accounts, devices, profiles (application service API; Client-Server API, "Profiles").

use ruma::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::Path;
use super::{Client, Nothing, encode};
use crate::error::{Class, MatrixError};

/// What a user shows of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// The shown name.
    pub displayname: Option<String>,
    /// The picture, an `mxc:` address.
    pub avatar_url: Option<String>,
}

impl Client {
    /// Makes an account; one that exists is fine. Some homeservers throttle this for every application service but
    /// make the account on its first use: after [`Class::Throttled`] go on and act as the user.
    pub async fn register(&self, user: &UserId) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            username: &'a str,
            inhibit_login: bool,
        }
        let body =
            Body { r#type: "m.login.application_service", username: user.localpart(), inhibit_login: true };
        match self.post::<Nothing>(Path::v3("register").acting(user), &body).await {
            Err(error) if error.class == Class::UserInUse => Ok(()),
            other => other.map(drop),
        }
    }

    /// Makes a device of `user`, or renames it. A homeserver without this answers an error that
    /// [`MatrixError::is_unrecognized`], or is [`Class::NotFound`].
    pub async fn put_device(&self, user: &UserId, device: &DeviceId, name: &str) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            display_name: &'a str,
        }
        let path = Path::v3("devices").push(device.as_str()).acting(user);
        self.put::<Nothing>(path, encode(&Body { display_name: name })?).await.map(drop)
    }

    /// Sets the shown name. Writes an event in every room the user is in: compare first.
    pub async fn set_displayname(&self, user: &UserId, name: &str) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            displayname: &'a str,
        }
        let path = Path::v3("profile").push(user.as_str()).fixed("displayname").acting(user);
        self.put::<Nothing>(path, encode(&Body { displayname: name })?).await.map(drop)
    }

    /// Sets the picture, an `mxc:` address; an empty one takes it away. Writes an event in every room the user is in:
    /// compare first.
    pub async fn set_avatar(&self, user: &UserId, avatar: &str) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            avatar_url: &'a str,
        }
        let path = Path::v3("profile").push(user.as_str()).fixed("avatar_url").acting(user);
        self.put::<Nothing>(path, encode(&Body { avatar_url: avatar })?).await.map(drop)
    }

    /// A user's profile, asked for by the bot; `None` when the homeserver has none.
    pub async fn get_profile(&self, user: &UserId) -> Result<Option<Profile>, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            displayname: Value,
            #[serde(default)]
            avatar_url: Value,
        }
        let text = |value: Value| match value {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        };
        match self.get::<Answer>(Path::v3("profile").push(user.as_str()).acting(&self.bot)).await {
            Ok(answer) => Ok(Some(Profile {
                displayname: text(answer.displayname),
                avatar_url: text(answer.avatar_url),
            })),
            Err(error) if error.class == Class::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
