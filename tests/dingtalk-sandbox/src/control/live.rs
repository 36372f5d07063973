//! Server-sent events for the page: messages, attempts, pushes, what bridges sent.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;

use crate::world::World;

/// `GET /_sandbox/live`. A reader that falls behind is told how much it missed.
pub(crate) async fn live(
    State(world): State<Arc<World>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(world.live.subscribe(), |mut receiver| async move {
        let event = match receiver.recv().await {
            Ok(text) => Event::default().data(text),
            Err(RecvError::Lagged(missed)) => {
                Event::default().data(format!("{{\"event\":\"missed\",\"count\":{missed}}}"))
            }
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
