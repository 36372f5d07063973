//! `render`: what would be made for an object, by the same code that makes it.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use dingtalk_crds::DingTalkBridge;
use operator_plan::{Fresh, OperatorInfo, Secret, Turn};

use super::{File, print, read_text};
use crate::{config, reconcile::facts, state::Snapshot};

/// What stands in for secrets that would be made.
pub(crate) fn stand_in() -> Fresh {
    const MADE: &str = "made-by-the-operator-and-never-printed";
    let made = || Secret::new(MADE);
    Fresh {
        as_token: made(),
        hs_token: Secret::new(format!("{MADE}-2")),
        status_token: made(),
        sealing_key: made(),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  dingtalk-operator render --config operator.yaml bridge.yaml
  kubectl get dtb acme -o yaml | dingtalk-operator render --config operator.yaml -

Objects that the spec names are taken to be there. Secrets are not printed.")]
pub(super) struct Render {
    #[command(flatten)]
    file: File,
    /// A DingTalkBridge as YAML or JSON; `-` reads standard input
    object: PathBuf,
    /// Namespace of an object that names none
    #[arg(long, short, default_value = "default")]
    namespace: String,
}

impl Render {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let config = config::read(&self.file.config)?;
        let text = read_text(&self.object)?;
        let mut object: DingTalkBridge = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is not a DingTalkBridge", self.object.display()))?;
        let metadata = &mut object.metadata;
        metadata.namespace.get_or_insert_with(|| self.namespace.clone());
        metadata.uid.get_or_insert_with(|| "00000000-0000-0000-0000-000000000000".to_owned());
        metadata.generation.get_or_insert(1);
        let snapshot = Snapshot::of(Arc::new(object));
        let operator = OperatorInfo {
            namespace: "dingtalk-operator".to_owned(),
            has_http_routes: true,
            definition: Arc::default(),
        };
        let plan = operator_plan::plan(&facts(
            &snapshot,
            &config.platform,
            &operator,
            Turn::Waits,
            &stand_in(),
            jiff::Timestamp::now(),
        ));
        if plan.writes.is_empty() {
            let status = plan.status.unwrap_or_default();
            let why = status.conditions.iter().find(|condition| condition.type_ == "Ready");
            anyhow::bail!(
                "nothing would be made: {}",
                why.map_or("no reason is known", |ready| &ready.message)
            );
        }
        for change in plan.writes {
            let mut object = change.wanted.object;
            if let Some(data) = object.get_mut("data").filter(|_| change.child.kind() == "Secret") {
                let keys: Vec<String> =
                    data.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
                *data =
                    keys.into_iter().map(|key| (key, "***".into())).collect::<serde_json::Map<_, _>>().into();
            }
            print(&format!("---\n{}", serde_saphyr::to_string(&object)?))?;
        }
        Ok(())
    }
}
