//! What comes next, from what the cluster tells: whoever interrupts the move and calls again goes on where it was.

/// A key of a Secret with the address of a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) secret: String,
    pub(super) key: String,
}

/// Where `spec` says that the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Database {
    Sqlite,
    /// That one.
    Target,
    /// Another PostgreSQL database.
    Other,
}

/// How the copying stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Absent,
    Running,
    Failed,
    Done,
}

/// What is kept of the time before the move, as long as it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Whether the bridge was suspended before.
    pub(super) was_suspended: bool,
    /// Whether the move was to this target.
    pub(super) same_target: bool,
}

/// All that the decision looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kept: Option<Kept>,
    pub(super) suspended: bool,
    pub(super) database: Database,
    /// Pods of the bridge that have not ended.
    pub(super) pods: usize,
    /// Whether configuration and Deployment have followed to PostgreSQL.
    pub(super) followed: bool,
    pub(super) job: Job,
    /// Whether the object is Ready, about its present `spec`.
    pub(super) ready: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Keep the configuration of now, by which the old database is found.
    Keep,
    Suspend,
    /// Wait until no pod has the old database open.
    WaitForPods,
    /// Name the new database in `spec`.
    Name,
    WaitForOperator,
    Copy,
    WaitForCopy,
    /// The copying failed.
    TellFailure,
    Start,
    WaitForReady,
    /// Remove what was only needed for the move.
    CleanUp,
    Finished,
    /// It cannot be done, for this reason.
    Refuse(&'static str),
}

/// The next step.
pub(super) fn next(facts: &Facts) -> Step {
    let Some(kept) = &facts.kept else {
        return match (&facts.database, facts.job) {
            (Database::Target, Job::Absent) => Step::Finished,
            (Database::Target, _) => Step::CleanUp,
            (Database::Other, _) => {
                Step::Refuse("it has another PostgreSQL database already, and only SQLite is moved")
            }
            (Database::Sqlite, Job::Absent) => Step::Keep,
            (Database::Sqlite, _) => Step::Refuse(
                "a Job of a former move is still there without what that move kept: look at its log, and delete it",
            ),
        };
    };
    if !kept.same_target {
        return Step::Refuse(
            "a move to another database is under way: finish it, or call it off with --cancel",
        );
    }
    if facts.job == Job::Done {
        return match () {
            () if facts.database != Database::Target => Step::Name,
            () if kept.was_suspended => Step::CleanUp,
            () if facts.suspended => Step::Start,
            () if !facts.ready => Step::WaitForReady,
            () => Step::CleanUp,
        };
    }
    match () {
        () if !facts.suspended => Step::Suspend,
        () if facts.pods > 0 && facts.job == Job::Absent => Step::WaitForPods,
        () if facts.database != Database::Target => Step::Name,
        () if !facts.followed => Step::WaitForOperator,
        () => match facts.job {
            Job::Absent => Step::Copy,
            Job::Running => Step::WaitForCopy,
            Job::Failed | Job::Done => Step::TellFailure,
        },
    }
}

/// Whether a move can be called off.
pub(super) fn may_cancel(facts: &Facts) -> Result<(), &'static str> {
    match (&facts.kept, facts.job) {
        (None, _) => Err("no move is under way"),
        (Some(_), Job::Done) if !facts.suspended => {
            Err("the bridge has been started on the new database: what came since is only there")
        }
        (Some(_), Job::Running) => Err("it is being copied: wait until the Job has ended"),
        (Some(_), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> Facts {
        Facts {
            kept: None,
            suspended: false,
            database: Database::Sqlite,
            pods: 1,
            followed: false,
            job: Job::Absent,
            ready: true,
        }
    }

    /// What a step makes of the world.
    fn carry_out(step: &Step, facts: &mut Facts, was_suspended: bool) {
        match step {
            Step::Keep => facts.kept = Some(Kept { was_suspended, same_target: true }),
            Step::Suspend => facts.suspended = true,
            Step::WaitForPods => facts.pods = 0,
            Step::Name => facts.database = Database::Target,
            Step::WaitForOperator => facts.followed = true,
            Step::Copy => {
                assert_eq!((facts.pods, facts.suspended), (0, true), "nobody writes to what is copied");
                assert!(facts.followed && facts.job == Job::Absent);
                facts.job = Job::Running;
            }
            Step::WaitForCopy => facts.job = Job::Done,
            Step::Start => {
                assert_eq!(facts.job, Job::Done, "no bridge starts on a database without its rows");
                (facts.suspended, facts.pods, facts.ready) = (false, 1, false);
            }
            Step::WaitForReady => facts.ready = true,
            Step::CleanUp if facts.kept.is_some() => facts.kept = None,
            Step::CleanUp => facts.job = Job::Absent,
            Step::Finished | Step::TellFailure | Step::Refuse(_) => panic!("{step:?}"),
        }
    }

    #[test]
    fn the_steps_lead_to_the_end_and_a_bridge_that_was_suspended_stays_so() {
        for was_suspended in [false, true] {
            let mut facts = Facts { suspended: was_suspended, ..before() };
            let mut steps = Vec::new();
            while next(&facts) != Step::Finished {
                let step = next(&facts);
                carry_out(&step, &mut facts, was_suspended);
                steps.push(step);
                assert!(steps.len() < 20, "{steps:?}");
            }
            assert_eq!(facts.database, Database::Target);
            assert_eq!(facts.suspended, was_suspended);
            assert_eq!((facts.job, facts.kept), (Job::Absent, None));
            assert_eq!(steps.iter().filter(|step| **step == Step::Copy).count(), 1, "copied once");
        }
    }

    #[test]
    fn what_is_unclear_is_refused_and_touches_nothing() {
        let other = Facts { database: Database::Other, ..before() };
        let stale = Facts { job: Job::Done, ..before() };
        let kept = Kept { was_suspended: false, same_target: false };
        let elsewhere = Facts { kept: Some(kept), ..before() };
        for facts in [other, stale, elsewhere] {
            assert!(matches!(next(&facts), Step::Refuse(_)), "{facts:?}");
        }
    }

    #[test]
    fn a_move_is_called_off_only_as_long_as_the_old_database_has_everything() {
        let kept = Some(Kept { was_suspended: false, same_target: true });
        let failed = Facts { kept: kept.clone(), suspended: true, job: Job::Failed, ..before() };
        assert_eq!(may_cancel(&failed), Ok(()));
        assert_eq!(may_cancel(&Facts { job: Job::Done, ..failed.clone() }), Ok(()));
        for facts in [
            before(),
            Facts { job: Job::Running, ..failed.clone() },
            Facts { job: Job::Done, suspended: false, ..failed },
        ] {
            assert!(may_cancel(&facts).is_err(), "{facts:?}");
        }
    }
}
