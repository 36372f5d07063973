//! The requests of a homeserver (application service API): which one it is, and the token it presents.

use std::borrow::Cow;

use http::{HeaderValue, Method};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use bridge_core::secret::Secret;

/// A request of the homeserver. Texts are percent-decoded and otherwise unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `PUT /_matrix/app/v1/transactions/{txnId}`: events. The id is for logs; it is no key.
    Transaction {
        /// The transaction id.
        txn_id: String,
    },
    /// `POST /_matrix/app/v1/ping`, or the root, where some homeservers send it.
    Ping,
    /// `GET /_matrix/app/v1/users/{userId}`: shall this user exist?
    User {
        /// The user id asked for.
        user: String,
    },
    /// `GET /_matrix/app/v1/rooms/{roomAlias}`: shall this alias exist?
    Alias {
        /// The alias asked for.
        alias: String,
    },
    /// `GET /_matrix/app/v1/thirdparty/protocol/{protocol}`: about a network.
    Protocol {
        /// The network's name.
        protocol: String,
    },
    /// `GET /_matrix/app/v1/thirdparty/user[/{protocol}]` or `…/location[/{protocol}]`: a search; an empty list is a
    /// complete answer.
    ThirdPartySearch,
    /// A route of these with another method: 405 `M_UNRECOGNIZED`.
    WrongMethod,
    /// Nothing of these: 404 `M_UNRECOGNIZED`.
    Unknown,
}

impl Route {
    /// Which request this is. `path` is as it came, without the query, and without the prefix the registration's
    /// `url` may have.
    pub fn of(method: &Method, path: &str) -> Self {
        let expect =
            |expected: Method, route: Self| if *method == expected { route } else { Self::WrongMethod };
        if matches!(path, "" | "/") {
            // Anybody may look at the root: only the ping is ours.
            return if method == Method::POST { Self::Ping } else { Self::Unknown };
        }
        let Some(rest) = path.strip_prefix("/_matrix/app/v1/") else { return Self::Unknown };
        let mut parts = rest.splitn(3, '/').map(|part| percent_decode_str(part).decode_utf8().ok());
        let (Some(Some(first)), second, third) = (parts.next(), parts.next(), parts.next()) else {
            return Self::Unknown;
        };
        let owned = Cow::into_owned;
        match (&*first, second, third) {
            ("ping", None, None) => expect(Method::POST, Self::Ping),
            ("transactions", Some(Some(id)), None) if !id.is_empty() => {
                expect(Method::PUT, Self::Transaction { txn_id: owned(id) })
            }
            ("users", Some(Some(user)), None) => expect(Method::GET, Self::User { user: owned(user) }),
            ("rooms", Some(Some(alias)), None) => expect(Method::GET, Self::Alias { alias: owned(alias) }),
            ("thirdparty", Some(Some(kind)), third) => match (&*kind, third) {
                ("protocol", Some(Some(protocol))) => {
                    expect(Method::GET, Self::Protocol { protocol: owned(protocol) })
                }
                ("user" | "location", None | Some(Some(_))) => expect(Method::GET, Self::ThirdPartySearch),
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

/// Why a request has no token to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none: 401 `M_MISSING_TOKEN`.
    #[error("the request has no token")]
    Missing,
    /// There are two that differ, or the header is not of the form `Bearer …`: 403 `M_FORBIDDEN`.
    #[error("the request's tokens do not agree")]
    Conflict,
}

/// The token a request presents, in its `Authorization` header or as `access_token` in its query; where there are
/// both they have to agree. The caller compares it with [`Secret::matches`].
pub fn presented_token(
    authorization: Option<&HeaderValue>,
    query: Option<&str>,
) -> Result<Secret, TokenError> {
    let header = match authorization {
        None => None,
        Some(value) => Some(Secret::new(bearer(value).ok_or(TokenError::Conflict)?)),
    };
    let query = query.unwrap_or("").as_bytes();
    let in_query = form_urlencoded::parse(query).filter(|(name, _)| name == "access_token");
    let mut token = header;
    for (_, value) in in_query {
        match &token {
            None => token = Some(Secret::new(value)),
            Some(other) if other.matches(&value) => {}
            Some(_) => return Err(TokenError::Conflict),
        }
    }
    token.filter(|token| !token.is_empty()).ok_or(TokenError::Missing)
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let user = |user: &str| Route::User { user: user.to_owned() };
        let alias = "#dingtalk_ab:acme.example".to_owned();
        let table = [
            ("PUT", "/_matrix/app/v1/transactions/17", Route::Transaction { txn_id: "17".into() }),
            ("PUT", "/_matrix/app/v1/transactions/a%2Fb", Route::Transaction { txn_id: "a/b".into() }),
            ("POST", "/_matrix/app/v1/transactions/17", Route::WrongMethod),
            ("PUT", "/_matrix/app/v1/transactions/", Route::Unknown),
            ("PUT", "/_matrix/app/v1/transactions", Route::Unknown),
            ("PUT", "/_matrix/app/v1/transactions/%ff", Route::Unknown),
            ("PUT", "/transactions/17", Route::Unknown),
            ("POST", "/_matrix/app/v1/ping", Route::Ping),
            ("GET", "/_matrix/app/v1/ping", Route::WrongMethod),
            ("POST", "/", Route::Ping),
            ("POST", "", Route::Ping),
            ("GET", "/", Route::Unknown),
            (
                "GET",
                "/_matrix/app/v1/users/%40dingtalk_%3D4c%3Aacme.example",
                user("@dingtalk_=4c:acme.example"),
            ),
            ("GET", "/_matrix/app/v1/rooms/%23dingtalk_ab%3Aacme.example", Route::Alias { alias }),
            (
                "GET",
                "/_matrix/app/v1/thirdparty/protocol/dingtalk",
                Route::Protocol { protocol: "dingtalk".into() },
            ),
            ("GET", "/_matrix/app/v1/thirdparty/protocol", Route::Unknown),
            ("GET", "/_matrix/app/v1/thirdparty/user", Route::ThirdPartySearch),
            ("GET", "/_matrix/app/v1/thirdparty/location/dingtalk", Route::ThirdPartySearch),
            ("GET", "/_matrix/app/v1/thirdparty", Route::Unknown),
            ("GET", "/_matrix/app/v1/", Route::Unknown),
            ("GET", "/_matrix/app/v2/users/a", Route::Unknown),
        ];
        for (method, path, expected) in table {
            assert_eq!(Route::of(&method.parse().unwrap(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn tokens_come_in_two_places_and_must_agree() {
        let token = |header: Option<&str>, query: Option<&str>| {
            let header = header.map(|header| HeaderValue::from_str(header).unwrap());
            presented_token(header.as_ref(), query).map(|token| token.expose().to_owned())
        };
        let good = || Ok("s3cret+/ x".to_owned());
        assert_eq!(token(Some("Bearer s3cret"), None), Ok("s3cret".into()));
        assert_eq!(token(Some("bearer  s3cret"), Some("a=b")), Ok("s3cret".into()));
        assert_eq!(token(None, Some("access_token=s3cret%2B%2F+x")), good());
        assert_eq!(token(Some("Bearer s3cret+/ x"), Some("x=1&access_token=s3cret%2B/%20x")), good());
        assert_eq!(token(Some("Bearer a"), Some("access_token=b")), Err(TokenError::Conflict));
        assert_eq!(token(None, Some("access_token=a&access_token=b")), Err(TokenError::Conflict));
        assert_eq!(token(Some("Basic a"), Some("access_token=a")), Err(TokenError::Conflict));
        assert_eq!(token(Some("Bearer "), None), Err(TokenError::Missing));
        assert_eq!(token(None, Some("access_token=")), Err(TokenError::Missing));
        assert_eq!(token(None, None), Err(TokenError::Missing));
    }
}
