//! The writing connection's statements. Each is prepared once and run row by row.

use std::collections::HashSet;

use bridge_core::envelope::Envelope;
use rusqlite::params;

use super::connection::{Connection, Row};
use crate::error::StoreError;
use crate::messages::MessageMapping;
use crate::outbox::OutboxState;
use crate::sql::apply::remote_columns;
use crate::sql::{Arg, NewInbox, NewOutbox, Writes};

impl Writes for Connection {
    type Row = Row;

    async fn run<'a>(&'a mut self, statement: &'a str, args: &'a [Arg<'a>]) -> Result<u64, StoreError> {
        self.execute(statement, args)
    }

    async fn rows<'a>(&'a mut self, statement: &'a str, args: &'a [Arg<'a>]) -> Result<Vec<Row>, StoreError> {
        self.query(statement, args)
    }

    async fn for_numbers<'a>(&'a mut self, head: &'a str, numbers: &'a [i64]) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let mut statement = self.prepared(&format!("{head} = ?"))?;
        for number in numbers {
            statement.execute([number])?;
        }
        Ok(())
    }

    async fn remember<'a>(
        &'a mut self,
        envelopes: &'a [&'a Envelope],
    ) -> Result<HashSet<String>, StoreError> {
        let mut statement =
            self.prepared("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")?;
        let mut fresh = HashSet::with_capacity(envelopes.len());
        for envelope in envelopes {
            if statement.execute(params![envelope.key, envelope.received_at.0])? > 0 {
                fresh.insert(envelope.key.clone());
            }
        }
        Ok(fresh)
    }

    async fn insert_inbox<'a>(&'a mut self, rows: &'a [NewInbox<'a>]) -> Result<(), StoreError> {
        let mut statement = self.prepared(
            "INSERT INTO inbox (seq, key, lane, source, received_at, body) VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        for NewInbox { seq, envelope, body } in rows {
            let (lane, source) = (envelope.lane.as_str(), envelope.source as u8);
            statement.execute(params![seq, envelope.key, lane, source, envelope.received_at.0, body])?;
        }
        Ok(())
    }

    async fn insert_outbox<'a>(&'a mut self, rows: &'a [NewOutbox<'a>]) -> Result<(), StoreError> {
        let mut statement = self.prepared(
            "INSERT INTO outbox (seq, lane, network, key, cause, created_at, state, op)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for NewOutbox { item, op } in rows {
            statement.execute(params![
                item.seq.0,
                item.lane.as_str(),
                item.network as u8,
                item.key,
                item.cause,
                item.created_at.0,
                OutboxState::Queued as u8,
                op,
            ])?;
        }
        Ok(())
    }

    async fn insert_mappings<'a>(&'a mut self, rows: &'a [&'a MessageMapping]) -> Result<(), StoreError> {
        let mut statement = self.prepared(
            "INSERT OR REPLACE INTO message
             (event, part, room, chat, remote_kind, remote, direction, sender, at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for mapping in rows {
            let (kind, remote) = remote_columns(&mapping.remote);
            statement.execute(params![
                mapping.event.as_str(),
                mapping.part,
                mapping.room.as_str(),
                mapping.chat.as_str(),
                kind,
                remote,
                mapping.direction as u8,
                mapping.sender,
                mapping.at.0,
            ])?;
        }
        Ok(())
    }
}
