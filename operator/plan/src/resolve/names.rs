//! Host and server name, and the values of the platform's placeholders.

use bridge_config::ServerName;
use dingtalk_crds::DingTalkBridgeSpec;

use crate::{Platform, template::Template, workspace::Invalid};

/// What the placeholders stand for. Host and server name are known one after the other, since the second is usually
/// made from the first.
pub(super) struct Names<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub spec: &'a DingTalkBridgeSpec,
    platform: &'a Platform,
    host: Option<String>,
    server_name: Option<String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(
        name: &'a str,
        namespace: &'a str,
        spec: &'a DingTalkBridgeSpec,
        platform: &'a Platform,
    ) -> Self {
        Self { name, namespace, spec, platform, host: None, server_name: None }
    }

    /// Fills in a template. `fields` are the field of `spec` that would make it superfluous, and its own name.
    pub(super) fn render(&self, template: &Template, (field, own): (&str, &str)) -> Result<String, Invalid> {
        let value = |name: &str| match name {
            "name" => Some(self.name),
            "namespace" => Some(self.namespace),
            "workspace" => Some(self.spec.workspace.as_str()),
            "baseDomain" => self.platform.base_domain.as_deref(),
            "host" => self.host.as_deref(),
            "serverName" => self.server_name.as_deref(),
            _ => None,
        };
        template.render(value).map_err(|lacking| {
            Invalid::default_missing(format!(
                "{field} is not set, and the platform's {own} needs {lacking}, which has no value: set {field}, or {lacking} in the operator's values"
            ))
        })
    }

    /// The public host.
    pub(super) fn host(&mut self) -> Result<String, Invalid> {
        let host = if let Some(host) = &self.spec.host {
            if !is_host(host) {
                return Err(Invalid::setting(format!(
                    "spec.host is not a host name: write it like {}.example.com, in lower case and without a port",
                    self.spec.workspace
                )));
            }
            host.clone()
        } else {
            let host = self.render(&self.platform.host_template, ("spec.host", "hostTemplate"))?;
            if !is_host(&host) {
                return Err(Invalid::setting(format!(
                    "the platform's hostTemplate gives {host:?}, which is not a host name: correct it in the operator's values, or set spec.host"
                )));
            }
            host
        };
        self.host = Some(host.clone());
        Ok(host)
    }

    /// The homeserver's name; needs the host.
    pub(super) fn server_name(&mut self) -> Result<ServerName, Invalid> {
        let own = self.spec.homeserver.as_ref().and_then(|homeserver| homeserver.server_name.as_deref());
        let (text, origin) = match own {
            Some(own) => (own.to_owned(), "spec.homeserver.serverName"),
            None => (
                self.render(
                    &self.platform.homeserver.server_name_template,
                    ("spec.homeserver.serverName", "homeserver.serverNameTemplate"),
                )?,
                "the platform's homeserver.serverNameTemplate",
            ),
        };
        let name = ServerName::parse(&text)
            .map_err(|fault| Invalid::setting(format!("{origin} {}; {}", fault.reason, fault.remedy)))?;
        self.server_name = Some(name.to_string());
        Ok(name)
    }

    /// The host, once it is known.
    pub(super) fn known_host(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }

    /// The platform's templates for admins, filled in.
    pub(super) fn admins(&self) -> Result<Vec<String>, Invalid> {
        let fields = ("spec.permissions.admins", "admins");
        self.platform.admins.iter().map(|template| self.render(template, fields)).collect()
    }
}

/// A DNS name with at least one dot, as `spec.host` must be.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner =
            label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 230 && text.contains('.') && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts_are_what_the_schema_takes() {
        for right in ["acme.example.com", "a.b", "1.example"] {
            assert!(is_host(right), "{right}");
        }
        for wrong in
            ["acme", "", ".example", "acme.", "-a.example", "A.example", "a.example:443", "*.example"]
        {
            assert!(!is_host(wrong), "{wrong}");
        }
    }
}
