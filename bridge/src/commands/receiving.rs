//! `stream`: by which way DingTalk's messages come.

use bridge_core::clock::Timestamp;
use bridge_core::receive::Receive;
use bridge_core::reply::{ReceivingLine, Reply, StreamLine};
use bridge_core::secret::Secret;

use crate::commands::Run;
use crate::receiving::RECEIVE_SETTING;
use crate::stream::state::StreamFigures;

impl Run<'_> {
    pub(super) fn receiving(&mut self) {
        let line = line(self.app.receiving.get(), &self.app.stream.figures(), self.now);
        self.answer(&Reply::Receiving(line));
    }

    pub(super) fn receive_by(&mut self, choice: Option<Receive>) {
        let value = choice.map(|choice| Secret::new(choice.as_str()));
        self.stepped.commit.settings.push((RECEIVE_SETTING.to_owned(), value));
        self.app.receiving.choose(choice);
        self.receiving();
    }
}

pub(super) fn line(receive: Receive, stream: &StreamFigures, now: Timestamp) -> ReceivingLine {
    let wanted = (receive.stream() && stream.wanted).then(|| StreamLine {
        connected: stream.connected(),
        lasting: now.since(stream.since),
        last_frame: stream.last_frame.map(|at| now.since(at)),
        problem: stream.problem.clone(),
    });
    ReceivingLine { receive, stream: wanted }
}
