//! Reading the database's address. Nothing of it is repeated in an error, for it holds a password.

use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::Server;
use crate::error::StoreError;

/// What may stand behind the `?`. Anything else would be ignored by the library, with its value in the log.
const PARAMETERS: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "user", "application_name"];

fn wrong(what: impl Into<String>) -> StoreError {
    StoreError::Address(what.into())
}

/// The address as the library takes it.
pub(super) fn read(server: &Server) -> Result<PgConnectOptions, StoreError> {
    let text = server.address.expose();
    let url = url::Url::parse(text).map_err(|_| wrong("is not an address"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(wrong("does not begin with postgres:// or postgresql://"));
    }
    if url.host_str().is_some_and(|host| host.contains(',')) {
        return Err(wrong("names several hosts; name one, or a service in front of them"));
    }
    for (name, value) in url.query_pairs() {
        if !PARAMETERS.contains(&&*name) {
            // A name may be a part of a password that was not escaped.
            let known = PARAMETERS.join(", ");
            return Err(wrong(format!(
                "has an unknown parameter behind the question mark; known are {known}"
            )));
        }
        if name == "sslmode" && value == "allow" {
            return Err(wrong("has sslmode=allow; use disable, prefer, require, verify-ca or verify-full"));
        }
    }
    if url.path().trim_matches('/').is_empty() {
        return Err(wrong("does not name a database"));
    }
    if url.username().is_empty() && !url.query_pairs().any(|(name, _)| name == "user") {
        return Err(wrong("does not name a user"));
    }
    let mut options = PgConnectOptions::from_str(text)
        .map_err(|_| {
            wrong("has a part that cannot be read (sslmode, port, or a character that is not escaped)")
        })?
        .disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("dingtalk-bridge");
    }
    if let Some(ca) = &server.ca {
        options = options.ssl_root_cert_from_pem(ca.clone());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use bridge_core::secret::Secret;

    use super::*;

    fn refusal(address: &str) -> String {
        read(&Server::new(Secret::new(address))).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_read() {
        let address = "postgresql://bridge:p%40ss@db.example:6543/acme?sslmode=verify-full";
        let options = read(&Server::new(Secret::new(address))).unwrap();
        assert_eq!(
            (options.get_host(), options.get_port(), options.get_username(), options.get_database()),
            ("db.example", 6543, "bridge", Some("acme"))
        );
        assert_eq!(options.get_application_name(), Some("dingtalk-bridge"));
    }

    #[test]
    fn a_wrong_one_is_refused_without_repeating_it() {
        for address in [
            "hunter2",
            "mysql://u:hunter2@db/x",
            "postgres://u:hunter2@db",
            "postgres://:hunter2@db/x",
            "postgres://u:hunter2@a,b/x",
            "postgres://u:p?hunter2@db/x",
            "postgres://u:hunter2@db/x?sslmode=hunter2",
            "postgres://u:hunter2@db/x?sslmode=allow",
            "postgres://u:hunter2@db/x?options=-csearch_path%3Dhunter2",
        ] {
            let refusal = refusal(address);
            assert!(refusal.starts_with("the database's address "), "{refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }
}
