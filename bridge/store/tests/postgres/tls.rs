//! Connections by TLS, and certificates that are not trusted.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_when_it_is_named_and_else_refused() {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = pair.cert.pem();
    let tls = Some((certificate.clone(), pair.signing_key.serialize_pem()));
    let server =
        Postgres::start(PostgresOptions { tls, ..PostgresOptions::default() }, &|_| {}).await.unwrap();
    let address = server.database("bridge").await.unwrap();
    let with = |mode: &str, ca: Option<&str>| Server {
        ca: ca.map(|ca| ca.as_bytes().to_vec()),
        ..Server::new(Secret::new(format!("{address}?sslmode={mode}")))
    };

    let setup = Setup::default();
    let trusted = options(with("verify-full", Some(&certificate)), &setup);
    let store = postgres::open(trusted, keyring(&setup), |_| {}).await.unwrap();
    store.depth().await.unwrap();
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'bridge'";
    assert_eq!(server.sql("bridge", encrypted).await.unwrap(), "t");
    store.close().await.unwrap();

    // Waiting would not make it trusted: it is said at once.
    for mode in ["verify-full", "verify-ca"] {
        let unknown = options(with(mode, None), &setup);
        let refused = postgres::open(unknown, keyring(&setup), |_| {}).await;
        assert_eq!(refused.err().map(|error| error.code()), Some("database_error"), "{mode}");
    }
    assert!(postgres::check(&with("require", None), keyring(&Setup::default())).await.is_ok());
    assert!(postgres::check(&with("disable", None), keyring(&Setup::default())).await.is_ok());
}
