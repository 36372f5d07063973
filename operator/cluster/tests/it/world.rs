//! A namespace of its own for each test, and waiting.

use std::{
    future::Future,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Client, core::ApiResource};
use operator_cluster::{
    Failure, Fence, Key, Reader, Writer,
    apply::Propagation,
    client::{Clients, Options, RequestCounts, Source, TIMEOUT, connect},
};
use serde_json::{Value, json};

/// The manager whose fields are projected.
pub(crate) const US: &str = "operator/spec";

pub(crate) struct World {
    pub(crate) clients: Clients,
    pub(crate) counts: RequestCounts,
    pub(crate) namespace: String,
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
}

impl World {
    pub(crate) async fn new() -> Self {
        let counts = RequestCounts::default();
        let options = Options {
            source: Source::Kubeconfig { path: None, context: None },
            user_agent: "dingtalk-operator/test".into(),
            timeout: TIMEOUT,
            counts: counts.clone(),
        };
        let clients = connect(options).await.expect("a cluster named by KUBECONFIG");
        let namespace = format!("it-{:08x}", RandomState::new().hash_one(0) as u32);
        let writer = Writer::new(clients.main.clone(), US, Fence::open());
        let object = json!({"metadata": {"name": namespace}});
        writer.create(&ApiResource::erase::<Namespace>(&()), &object, "test").await.unwrap();
        let reader = Reader::new(clients.main.clone());
        Self { clients, counts, namespace, writer, reader }
    }

    pub(crate) fn client(&self) -> Client {
        self.clients.main.clone()
    }

    /// A writer that is somebody else.
    pub(crate) fn other(&self, manager: &str) -> Writer {
        Writer::new(self.client(), manager, Fence::open())
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(&self.namespace, name)
    }

    /// An object of this namespace.
    pub(crate) fn object(&self, name: &str, mut content: Value) -> Value {
        content["metadata"]["namespace"] = self.namespace.as_str().into();
        content["metadata"]["name"] = name.into();
        content
    }

    pub(crate) fn config_map(&self, name: &str, data: &Value) -> Value {
        self.object(name, json!({"data": data}))
    }

    pub(crate) async fn get(&self, resource: &ApiResource, name: &str) -> Option<Value> {
        self.reader.get(resource, &self.key(name), "test").await.unwrap()
    }

    pub(crate) async fn end(self) {
        let (kind, key) = (ApiResource::erase::<Namespace>(&()), Key::new("", &self.namespace));
        let namespace = self.reader.get(&kind, &key, "test").await.unwrap().unwrap();
        self.writer.delete(&kind, &key, &uid(&namespace), Propagation::Background, "test").await.unwrap();
    }
}

pub(crate) fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

pub(crate) fn config_maps() -> ApiResource {
    ApiResource::erase::<ConfigMap>(&())
}

/// A kind of custom resources for one test, with a status.
pub(crate) fn things(plural: &str) -> ApiResource {
    ApiResource {
        group: "test.io".into(),
        version: "v1".into(),
        api_version: "test.io/v1".into(),
        kind: format!("{}{}", plural[..1].to_uppercase(), &plural[1..plural.len() - 1]),
        plural: plural.into(),
    }
}

/// Has it served; where it comes and goes, see that it is gone before.
pub(crate) async fn serve(world: &World, things: &ApiResource) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": format!("{}.{}", things.plural, things.group)},
        "spec": {"group": things.group, "scope": "Namespaced", "names": {"plural": things.plural, "kind": things.kind},
            "versions": [{"name": things.version, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}}}]},
    });
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let made = world.writer.create(&kind, &definition, "test").await.unwrap();
    eventually("the kind is served", || async {
        let listed = world.reader.list(things, Some(&world.namespace), None, "test", |_| {}).await;
        (listed != Err(Failure::Fenced) && listed.is_ok()).then_some(())
    })
    .await;
    made
}

/// Has it served no more.
pub(crate) async fn serve_no_more(world: &World, definition: &Value) {
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let key = Key::new("", definition["metadata"]["name"].as_str().unwrap());
    world.writer.delete(&kind, &key, &uid(definition), Propagation::Background, "test").await.unwrap();
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
