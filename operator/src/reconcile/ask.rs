//! Questions of a plan: Secrets that `spec` names are read in the pass; homeservers and bridges are asked beside it,
//! and their answers bring the object back in line.

use std::{sync::Arc, time::Duration};

use operator_cluster::{Failure, Key as ObjectKey, Meta, Reader};
use operator_plan::{AdminFact, AdminOrder, Ask, RefKey, ReferenceFact, ReportFact, Secret, WhoamiFact};
use tokio::time::Instant;

use super::{Reconciler, earliest};
use crate::{
    homeserver,
    key::Key,
    kinds,
    lanes::Lane,
    projection,
    state::{Snapshot, Turn, digest_of},
};

/// How soon an accepted token may be asked about again when a plan wants to.
const STEADY_HOMESERVER: Duration = Duration::from_mins(10);

/// How soon a report may be asked for again.
const STEADY_REPORT: Duration = Duration::from_secs(15);

/// What came of the questions.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whether something was read, so that planning anew makes sense.
    pub(super) read: bool,
    /// Whether answers are on their way.
    pub(super) under_way: bool,
    /// When a question may be asked that had to wait.
    pub(super) again: Option<Duration>,
}

impl Reconciler {
    pub(super) async fn ask(
        self: &Arc<Self>,
        key: &Key,
        snapshot: &Snapshot,
        asks: &[Ask],
    ) -> Result<Asked, Failure> {
        let mut asked = Asked::default();
        for ask in asks {
            match ask {
                Ask::Read { key: reference, values } => {
                    self.read_named(key, reference, values).await?;
                    asked.read = true;
                }
                Ask::Whoami { url, as_token, .. } => {
                    let about = digest_of(&[url, as_token.expose()]);
                    let turn =
                        self.state.with_record(key, |record| record.whoami.turn(about, Instant::now()));
                    self.go(key, turn, ask, &mut asked);
                }
                Ask::Admin { url, token, id, order, .. } => {
                    let (what, body) = match order {
                        AdminOrder::Look { body } => ("look", body.expose()),
                        AdminOrder::Register { body } => ("register", body.expose()),
                        AdminOrder::Enable => ("enable", ""),
                        AdminOrder::Disable => ("disable", ""),
                    };
                    let about = digest_of(&[url, token.expose(), id, what, body]);
                    let turn = self
                        .state
                        .with_record(key, |record| record.order(about, &snapshot.admin, Instant::now()));
                    self.go(key, turn, ask, &mut asked);
                }
                Ask::TakeBack { place, token, .. } => {
                    let about = digest_of(&[token.expose()]);
                    let turn =
                        self.state.with_record(key, |record| record.take_back(place, about, Instant::now()));
                    self.go(key, turn, ask, &mut asked);
                }
                Ask::Report { url, token, .. } => {
                    let about = digest_of(&[url, token.expose()]);
                    let turn =
                        self.state.with_record(key, |record| record.report.turn(about, Instant::now()));
                    self.go(key, turn, ask, &mut asked);
                }
            }
        }
        Ok(asked)
    }

    fn go(self: &Arc<Self>, key: &Key, turn: Option<Turn>, ask: &Ask, asked: &mut Asked) {
        match turn {
            Some(Turn::Go) => {
                asked.under_way = true;
                let (this, key, ask) = (Arc::clone(self), key.clone(), ask.clone());
                tokio::spawn(async move { this.answer(&key, ask).await });
            }
            Some(Turn::UnderWay) => asked.under_way = true,
            Some(Turn::Wait(pause)) => asked.again = earliest(asked.again, Some(pause)),
            None => {}
        }
    }

    async fn answer(&self, key: &Key, ask: Ask) {
        let places = if matches!(ask, Ask::Report { .. }) { &self.to_bridges } else { &self.to_homeservers };
        let Ok(_place) = places.acquire().await else { return };
        let changed = match ask {
            Ask::Whoami { url, as_token, user_id, ca } => {
                let fact = match self.homeservers.trusting(ca.as_ref()) {
                    Ok(http) => homeserver::whoami(&http, &url, &as_token, &user_id).await,
                    Err(error) => WhoamiFact::Unreachable(error.to_string()),
                };
                self.state.with_record(key, |record| {
                    let changed = *record.whoami.fact() != fact;
                    let good = fact == WhoamiFact::Accepted;
                    record.whoami.answered(fact, good, STEADY_HOMESERVER, Instant::now());
                    changed
                })
            }
            Ask::Admin { url, token, ca, id, order } => {
                let order = async |http: &_| homeserver::admin(http, &url, &token, &id, &order).await;
                let fact = self.at_admin_api(ca.as_ref(), order).await;
                self.state.with_record(key, |record| {
                    // An order that was not carried out has to come again, although nothing was learned.
                    let changed = *record.admin.fact() != fact || fact == AdminFact::Unknown;
                    let good = matches!(fact, AdminFact::Present { .. } | AdminFact::Absent);
                    // The next order follows from this answer and may come at once.
                    record.admin.answered(fact, good, Duration::ZERO, Instant::now());
                    // A new registration may make a token known that was refused.
                    if changed {
                        record.whoami.reset(WhoamiFact::Unknown);
                    }
                    changed
                })
            }
            Ask::TakeBack { place, token, ca } => {
                let order = async |http: &_| homeserver::take_back(http, &place.url, &token, &place.id).await;
                let fact = self.at_admin_api(ca.as_ref(), order).await;
                self.state.with_record(key, |record| {
                    let Some(asked) = record.former.get_mut(&place) else { return true };
                    let good = fact == AdminFact::Absent;
                    asked.answered(fact, good, Duration::ZERO, Instant::now());
                    if good {
                        // It may be the same homeserver under another address.
                        record.admin.reset(AdminFact::Unknown);
                        record.whoami.reset(WhoamiFact::Unknown);
                    }
                    // What waits for the end of this order may go.
                    true
                })
            }
            Ask::Report { url, token, former } => {
                let fact = self.reporter.ask(key, &url, &token, former.as_ref()).await;
                self.state.with_record(key, |record| {
                    let changed = *record.report.fact() != fact;
                    let good = matches!(fact, ReportFact::Report(_));
                    record.report.answered(fact, good, STEADY_REPORT, Instant::now());
                    changed
                })
            }
            Ask::Read { .. } => None,
        };
        // An unchanged answer ends the waiting of a status that is held back for it.
        let held = self.state.with_record(key, |record| record.status_held.is_some());
        if changed == Some(true) || held == Some(true) {
            self.queue.push(key, Lane::Child);
        }
    }

    /// An order of one who no longer works is not carried out.
    async fn at_admin_api(
        &self,
        ca: Option<&Secret>,
        order: impl AsyncFnOnce(&reqwest::Client) -> AdminFact,
    ) -> AdminFact {
        if !self.fence.is_open() {
            return AdminFact::Unknown;
        }
        match self.homeservers.trusting(ca) {
            Ok(http) => order(&http).await,
            Err(error) => AdminFact::Unreachable(error.to_string()),
        }
    }

    async fn read_named(&self, key: &Key, reference: &RefKey, values: &[String]) -> Result<(), Failure> {
        let (rv, fact) = read_reference(&self.reader, key.namespace(), reference, values).await?;
        self.state.put_reference(key, reference, rv, fact);
        Ok(())
    }
}

/// Reads a Secret or `ConfigMap` that an object names: its version and what is known of it.
pub(crate) async fn read_reference(
    reader: &Reader,
    namespace: &str,
    reference: &RefKey,
    values: &[String],
) -> Result<(u64, ReferenceFact), Failure> {
    let (resource, name) = match reference {
        RefKey::Secret(name) => (kinds::secrets(), name),
        RefKey::ConfigMap(name) => (kinds::config_maps(), name),
    };
    let object = ObjectKey { namespace: namespace.to_owned(), name: name.clone() };
    Ok(match reader.get(&resource, &object, "reference").await {
        Ok(Some(live)) => {
            let (keys, values) = projection::reference(&live, values);
            let rv = Meta::of(&live).map_or(0, |meta| meta.version);
            (rv, ReferenceFact::Present { keys, values })
        }
        Ok(None) => (0, ReferenceFact::Missing),
        Err(Failure::Refused { denied: true, .. }) => (0, ReferenceFact::Denied),
        Err(failure) => return Err(failure),
    })
}
