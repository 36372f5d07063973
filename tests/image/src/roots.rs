//! The public certificate authorities.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::archive::{File, Source};

/// Where programs look for the authorities that they trust.
pub const CA_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Mozilla's list of authorities as a file for an image, at [`CA_ROOTS`]. It comes from a crate and not from the
/// machine that builds, so that its version is pinned like that of everything else.
pub fn ca_roots() -> File {
    File { path: CA_ROOTS.to_owned(), source: Source::Bytes(pem().into_bytes()), mode: 0o644 }
}

fn pem() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let encoded = STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        // 64 characters a line, and base64 is ASCII.
        for line in encoded.as_bytes().chunks(64) {
            let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_authority_is_in_the_file_as_it_is() {
        let text = pem();
        let parts: Vec<&str> = text.split("-----BEGIN CERTIFICATE-----\n").skip(1).collect();
        assert_eq!(parts.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert!(parts.len() > 50);
        for (part, certificate) in parts.iter().zip(webpki_root_certs::TLS_SERVER_ROOT_CERTS) {
            let encoded = part.strip_suffix("-----END CERTIFICATE-----\n").unwrap();
            assert!(encoded.lines().all(|line| line.len() <= 64));
            let decoded = STANDARD.decode(encoded.replace('\n', "")).unwrap();
            assert_eq!(decoded, certificate.as_ref());
        }
    }
}
