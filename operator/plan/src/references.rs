//! The Secrets and `ConfigMap`s that `spec` or the platform names: which keys are needed of them, what is not known yet
//! and what is wrong with them.

use std::{collections::BTreeMap, fmt::Write as _};

use dingtalk_crds::{Reason, names::keys};

use crate::{
    Ask, Digest, RefKey, ReferenceFact, References,
    places::{Named, Place},
    workspace::{CredentialsFrom, DatabaseFrom, Workspace},
};

/// What names the keys for former registrations.
const REGISTERED_FIELD: &str = "the annotation bridges.meldry.com/registered";

/// Characters of a webhook's AES key.
const AES_KEY_LENGTH: usize = 43;

/// A key that is needed.
#[derive(Clone, Debug)]
struct Need {
    key: String,
    /// Field that names it.
    field: &'static str,
    /// How many characters it must have, apart from a line end.
    length: Option<usize>,
    /// Whether its value is needed as it is.
    value: bool,
    /// Who gets it.
    for_: User,
}

/// Who gets a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum User {
    /// The pod.
    Pod,
    /// The operator, for the homeserver's admin API.
    Admin,
    /// The operator, to take a former registration back.
    Former,
}

/// What is needed of each object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needed(BTreeMap<RefKey, Vec<Need>>);

/// What is wrong with a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub reason: Reason,
    pub message: String,
    /// Whether the pod cannot start because of it.
    pub pod: bool,
    /// Whether it is about the token for the homeserver's admin API.
    pub is_admin_token: bool,
}

impl Needed {
    /// What a workspace needs, and who takes back what was registered at these places.
    pub(crate) fn of(workspace: &Workspace, former: &[Place]) -> Self {
        let mut needed = Self::of_former(former);
        let secret = |name: &str| RefKey::Secret(name.to_owned());
        match &workspace.credentials {
            Some(CredentialsFrom::Secret(name)) => {
                for key in CredentialsFrom::KEYS {
                    needed.pod(secret(name), key, "spec.dingtalk.credentials.secretRef", None);
                }
            }
            Some(CredentialsFrom::Parts { app_secret, .. }) => {
                needed.pod(secret(&app_secret.name), &app_secret.key, app_secret.field, None);
            }
            None => {}
        }
        if let Some(name) = &workspace.webhook_secret {
            let field = "spec.dingtalk.webhook.secretRef";
            needed.pod(secret(name), keys::WEBHOOK_TOKEN, field, None);
            needed.pod(secret(name), keys::WEBHOOK_AES_KEY, field, Some(AES_KEY_LENGTH));
        }
        if let DatabaseFrom::PostgreSql(address) = &workspace.database {
            needed.pod(secret(&address.name), &address.key, address.field, None);
        }
        for variable in &workspace.pod.env {
            let from = &variable.secret_key_ref;
            needed.pod(secret(&from.name), &from.key, "spec.workload.extraEnv", None);
        }
        if let Some(ca) = &workspace.dingtalk_ca {
            needed.pod(RefKey::ConfigMap(ca.name.clone()), &ca.key, ca.field, None);
        }
        // The operator itself asks the homeserver too, so it needs these certificates as they are.
        if let Some(ca) = &workspace.homeserver.ca {
            needed.add(
                RefKey::ConfigMap(ca.name.clone()),
                Need { key: ca.key.clone(), field: ca.field, length: None, value: true, for_: User::Pod },
            );
        }
        if let Some(admin) = &workspace.homeserver.admin {
            let token = &admin.token;
            needed.add(
                secret(&token.name),
                Need {
                    key: token.key.clone(),
                    field: token.field,
                    length: None,
                    value: true,
                    for_: User::Admin,
                },
            );
        }
        needed
    }

    /// What is needed to take back what was registered at these places.
    pub(crate) fn of_former(places: &[Place]) -> Self {
        let mut needed = Self::default();
        for Place { token, ca, .. } in places {
            let need = |named: &Named| Need {
                key: named.key.clone(),
                field: REGISTERED_FIELD,
                length: None,
                value: true,
                for_: User::Former,
            };
            needed.add(RefKey::Secret(token.name.clone()), need(token));
            if let Some(ca) = ca {
                needed.add(RefKey::ConfigMap(ca.name.clone()), need(ca));
            }
        }
        needed
    }

    fn pod(&mut self, object: RefKey, key: &str, field: &'static str, length: Option<usize>) {
        self.add(object, Need { key: key.to_owned(), field, length, value: false, for_: User::Pod });
    }

    fn add(&mut self, object: RefKey, need: Need) {
        self.0.entry(object).or_default().push(need);
    }

    /// Questions about what has not been read.
    pub(crate) fn asks(&self, known: &References) -> Vec<Ask> {
        let read = |(object, needs): (&RefKey, &Vec<Need>)| {
            let mut values: Vec<String> =
                needs.iter().filter(|need| need.value).map(|need| need.key.clone()).collect();
            values.sort_unstable();
            values.dedup();
            let read = match known.get(object) {
                None => false,
                Some(ReferenceFact::Missing | ReferenceFact::Denied) => true,
                Some(ReferenceFact::Present { keys, values: got }) => {
                    values.iter().all(|key| got.contains_key(key) || !keys.contains_key(key))
                }
            };
            (!read).then(|| Ask::Read { key: object.clone(), values })
        };
        self.0.iter().filter_map(read).collect()
    }

    /// Questions about what the operator itself needs.
    pub(crate) fn admin_asks(&self, known: &References) -> Vec<Ask> {
        let own = self.0.iter().filter(|(_, needs)| needs.iter().any(|need| need.value));
        Self(own.map(|(object, needs)| (object.clone(), needs.clone())).collect()).asks(known)
    }

    /// Whether an object was looked for and is not there, or may not be read.
    pub(crate) fn wanting(&self, known: &References) -> bool {
        self.0.keys().filter_map(|object| known.get(object)).any(|fact| !fact.lasts())
    }

    /// Whether everything has been read.
    pub(crate) fn known(&self, known: &References) -> bool {
        self.asks(known).is_empty()
    }

    /// Everything that is wrong with what has been read. What only former registrations need is told with these.
    pub(crate) fn troubles(&self, known: &References) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (object, needs) in &self.0 {
            let needs: Vec<Need> = needs.iter().filter(|need| need.for_ != User::Former).cloned().collect();
            let Some(fact) = known.get(object).filter(|_| !needs.is_empty()) else { continue };
            let who = |needs: &[Need]| {
                let admin = needs.iter().any(|need| need.for_ == User::Admin);
                (needs.iter().any(|need| need.for_ == User::Pod), admin)
            };
            if let Some((reason, message)) = absent(object, &needs, fact) {
                let (pod, is_admin_token) = who(&needs);
                troubles.push(Trouble { reason, message, pod, is_admin_token });
                continue;
            }
            for need in &needs {
                if let Some(message) = lacking(object, need, fact) {
                    let (pod, is_admin_token) = who(std::slice::from_ref(need));
                    troubles.push(Trouble {
                        reason: Reason::ReferenceKeyMissing,
                        message,
                        pod,
                        is_admin_token,
                    });
                }
            }
        }
        troubles
    }

    /// Digest of all that the pod gets; `None` while something has not been read.
    pub(crate) fn pod_digest(&self, known: &References) -> Option<Digest> {
        let mut text = String::new();
        for (object, needs) in &self.0 {
            for need in needs.iter().filter(|need| need.for_ == User::Pod) {
                let digest = match known.get(object)? {
                    ReferenceFact::Present { keys, .. } => {
                        keys.get(&need.key).map(|(digest, _)| Digest::short(digest))
                    }
                    ReferenceFact::Missing | ReferenceFact::Denied => None,
                };
                let _ = writeln!(text, "{object:?} {} {digest:?}", need.key);
            }
        }
        Some(Digest::of_bytes(text.as_bytes()))
    }
}

/// Kind and name, with the fields that name it.
fn described(object: &RefKey, needs: &[Need]) -> String {
    let (kind, name) = match object {
        RefKey::Secret(name) => ("Secret", name),
        RefKey::ConfigMap(name) => ("ConfigMap", name),
    };
    format!("the {kind} {name}, named by {},", distinct(needs.iter().map(|need| need.field)))
}

/// Texts in order, each once.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut list: Vec<&str> = Vec::new();
    for text in texts {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list.join(" and ")
}

/// An object that is not there, or may not be read.
fn absent(object: &RefKey, needs: &[Need], fact: &ReferenceFact) -> Option<(Reason, String)> {
    let what = described(object, needs);
    match fact {
        ReferenceFact::Missing => {
            let keys = distinct(needs.iter().map(|need| need.key.as_str()));
            Some((
                Reason::ReferenceMissing,
                format!("{what} does not exist: create it with {keys}, or correct the field"),
            ))
        }
        ReferenceFact::Denied => Some((
            Reason::AccessDenied,
            format!(
                "{what} may not be read by the operator: give its ServiceAccount the right to get it in this namespace"
            ),
        )),
        ReferenceFact::Present { .. } => None,
    }
}

/// A key that is not there or cannot be right.
fn lacking(object: &RefKey, need: &Need, fact: &ReferenceFact) -> Option<String> {
    let ReferenceFact::Present { keys, .. } = fact else { return None };
    let Need { key, length, .. } = need;
    let problem = match keys.get(key) {
        None => format!("has no key {key}: add it, or correct the field"),
        Some((_, 0)) => format!("has an empty value under {key}: put the value there"),
        // With or without the line end that a file has.
        Some((_, found)) if length.is_some_and(|length| !(length..=length + 2).contains(found)) => {
            format!(
                "has a value of {found} characters under {key}: it must have {AES_KEY_LENGTH}, copy it again"
            )
        }
        Some(_) => return None,
    };
    Some(format!("{} {problem}", described(object, std::slice::from_ref(need))))
}
