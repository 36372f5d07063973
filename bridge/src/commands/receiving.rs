//! `stream`: by which way DingTalk's messages come.

use bridge_core::receive::Receive;
use bridge_core::reply::Reply;
use bridge_core::secret::Secret;

use crate::actions::overview::receiving_line;
use crate::commands::Run;
use crate::receiving::RECEIVE_SETTING;
use crate::relay::step::After;

impl Run<'_> {
    pub(super) fn receiving(&mut self) {
        self.show(self.app.receiving.get());
    }

    pub(super) fn receive_by(&mut self, choice: Option<Receive>) {
        let value = choice.map(|choice| Secret::new(choice.as_str()));
        self.stepped.commit.settings.push((RECEIVE_SETTING.to_owned(), value));
        self.stepped.after.push(After::Receive(choice));
        self.show(choice.unwrap_or(self.app.receiving.configured()));
    }

    fn show(&mut self, receive: Receive) {
        let line = receiving_line(receive, &self.app.stream.figures(), self.app.now());
        self.answer(&Reply::Receiving(line));
    }
}
