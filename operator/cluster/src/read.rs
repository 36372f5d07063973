//! Reading without keeping: single objects by name, lists page by page, and whether a kind is served.

use http::Method;
use kube::{Client, core::ApiResource};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    Failure, Key,
    client::{TIMEOUT, Verb},
    request::{Call, Trouble, collection, item, object},
};

/// Reads objects.
#[derive(Clone)]
pub struct Reader {
    client: Client,
}

/// One page of a list; the objects are not decoded yet.
#[derive(Deserialize)]
pub(crate) struct Page<'a> {
    #[serde(default)]
    pub(crate) metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

impl<'a> Page<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Failure> {
        serde_json::from_slice(body)
            .map_err(|error| Failure::unavailable(format!("the answer is no list: {error}")))
    }

    pub(crate) fn items(&self) -> &[&'a RawValue] {
        self.items.as_deref().unwrap_or_default()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PageMeta {
    pub(crate) resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl PageMeta {
    /// The token of the next page, if there is one.
    pub(crate) fn next(self) -> Option<String> {
        self.next.filter(|token| !token.is_empty())
    }
}

/// How many objects a page has.
const PAGE: &str = "100";

impl Reader {
    /// A reader.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// One object; `None` when there is none of this name. When its kind or namespace is not there either, that is
    /// `None` as well.
    pub async fn get(
        &self,
        resource: &ApiResource,
        key: &Key,
        why: &'static str,
    ) -> Result<Option<Value>, Failure> {
        let call = Call::new(Method::GET, Verb::Get, item(resource, &key.namespace, &key.name)?, why);
        match call.read(&self.client, TIMEOUT).await.map_err(Failure::from) {
            Ok(body) => object(&body).map(Some),
            Err(Failure::Gone { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// All objects of a kind that have the labels, one by one.
    pub async fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        labels: Option<&str>,
        why: &'static str,
        mut each: impl FnMut(Value),
    ) -> Result<(), Failure> {
        let mut next = None;
        loop {
            let call = Call::new(Method::GET, Verb::List, collection(resource, namespace), why)
                .query("limit", PAGE)
                .query_if("labelSelector", labels)
                .query_if("continue", next.as_deref());
            let body = call.read(&self.client, TIMEOUT).await?;
            let page = Page::read(&body)?;
            for item in page.items() {
                each(object(item.get().as_bytes())?);
            }
            next = page.metadata.next();
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// The schema of a kind as the server publishes it; `None` when it publishes none. Every account may ask.
    pub async fn schema(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        why: &'static str,
    ) -> Result<Option<Value>, Failure> {
        let path = format!("/openapi/v3/apis/{group}/{version}");
        let call = Call::new(Method::GET, Verb::Get, path, why);
        let body = match call.read(&self.client, TIMEOUT).await.map_err(Failure::from) {
            Ok(body) => body,
            Err(Failure::Gone { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let mut document: Value = serde_json::from_slice(&body)
            .map_err(|error| Failure::unavailable(format!("the answer is no document: {error}")))?;
        // `com.example.things.v1.Thing` for the kind Thing of the group things.example.com.
        let reversed: Vec<&str> = group.rsplit('.').collect();
        let name = format!("{}.{version}.{kind}", reversed.join("."));
        let schema = document["components"]["schemas"][&name].take();
        Ok(schema.is_object().then_some(schema))
    }

    /// Whether a kind is served.
    pub async fn served(&self, resource: &ApiResource, why: &'static str) -> Result<bool, Failure> {
        #[derive(Deserialize)]
        struct Served {
            name: String,
        }
        #[derive(Deserialize)]
        struct Version {
            #[serde(default)]
            resources: Vec<Served>,
        }
        let path =
            if resource.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.group) };
        let call = Call::new(Method::GET, Verb::Get, format!("{path}/{}", resource.version), why);
        match call.read(&self.client, TIMEOUT).await {
            Ok(body) => {
                let version: Version = serde_json::from_slice(&body)
                    .map_err(|error| Failure::unavailable(format!("the answer is no discovery: {error}")))?;
                Ok(version.resources.iter().any(|served| served.name == resource.plural))
            }
            Err(Trouble { failure: Failure::Gone { .. }, .. }) => Ok(false),
            Err(trouble) => Err(trouble.failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::testing::{Answer, Server, status, thing, things};

    #[tokio::test(start_paused = true)]
    async fn a_read_is_tried_again_within_its_bound() {
        let server = Server::default();
        server.will(Answer::NoConnection);
        server.will(Answer::Text(503, Some(("retry-after", "2")), "later"));
        server.will_json(200, thing("a", "1", 5, 1));
        let (reader, begun) = (Reader::new(server.client()), Instant::now());
        let found = reader.get(&things(), &Key::new("ns", "a"), "reference").await;
        assert_eq!(found, Ok(Some(thing("a", "1", 5, 1))));
        assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(3));

        // Nobody waits longer than the bound, whatever the server asks for.
        server.will(Answer::Text(429, Some(("retry-after", "1000")), "later"));
        let begun = Instant::now();
        let found = reader.get(&things(), &Key::new("ns", "a"), "reference").await;
        assert!(matches!(found, Err(Failure::Unavailable { retry_after: Some(_), .. })));
        assert!(begun.elapsed() < Duration::from_secs(1));
        let begun = Instant::now();
        let found = reader.get(&things(), &Key::new("ns", "a"), "reference").await;
        assert!(matches!(found, Err(Failure::Unavailable { .. })), "{found:?}");
        assert_eq!(begun.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_there_is_told_from_what_is_not_allowed() {
        let server = Server::default();
        server.will_json(404, status(404, "NotFound"));
        server.will_json(403, status(403, "Forbidden"));
        let reader = Reader::new(server.client());
        assert_eq!(reader.get(&things(), &Key::new("ns", "a"), "reference").await, Ok(None));
        let denied = reader.get(&things(), &Key::new("ns", "a"), "reference").await;
        assert!(matches!(denied, Err(Failure::Refused { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_read_to_their_end() {
        let server = Server::default();
        let page = |next: &str, name: &str| json!({"metadata": {"continue": next}, "items": [thing(name, "1", 5, 1)]});
        server.will_json(200, page("more", "a"));
        server.will_json(200, page("", "b"));
        let mut names = Vec::new();
        let each = |object: Value| names.push(object["metadata"]["name"].as_str().unwrap().to_owned());
        Reader::new(server.client()).list(&things(), None, Some("x=y"), "cli", each).await.unwrap();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(server.asked()[1].query, "limit=100&labelSelector=x%3Dy&continue=more");
    }

    #[tokio::test(start_paused = true)]
    async fn discovery_tells_whether_a_kind_is_served() {
        let server = Server::default();
        server.will_json(200, json!({"resources": [{"name": "things"}, {"name": "things/status"}]}));
        server.will_json(200, json!({"resources": [{"name": "others"}]}));
        server.will(Answer::Text(404, None, "404 page not found"));
        let (reader, things) = (Reader::new(server.client()), things());
        for expected in [true, false, false] {
            assert_eq!(reader.served(&things, "start").await, Ok(expected));
        }
        assert_eq!(server.asked()[0].path, "/apis/test.io/v1");
    }
}
