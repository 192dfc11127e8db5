//! What a restart request comes to (KIP-745). Counterpart of Java's `RestartPlan`: the status as it is, with RESTARTING where something is restarted.

use super::request::{ConnectorStatus, UnitStatus};
use crate::unit::{State, TaskId, UnitId};

/// What a restart with these flags makes of a status. Worker, version and trace stay as they are, as Java answers.
pub(crate) fn plan(mut status: ConnectorStatus, include_tasks: bool, only_failed: bool) -> ConnectorStatus {
    let restart = |status: &mut UnitStatus| {
        if !only_failed || status.state == State::Failed {
            status.state = State::Restarting;
        }
    };
    restart(&mut status.connector);
    if include_tasks {
        status.tasks.iter_mut().for_each(|task| restart(&mut task.status));
    }
    status
}

/// What is restarted according to a plan.
pub(crate) fn units(plan: &ConnectorStatus) -> Vec<UnitId> {
    let restarts = |status: &UnitStatus| status.state == State::Restarting;
    let connector = restarts(&plan.connector).then(|| UnitId::Connector(plan.name.clone()));
    let tasks = plan.tasks.iter().filter(|task| restarts(&task.status));
    let tasks = tasks.map(|task| UnitId::Task(TaskId { connector: plan.name.clone(), task: task.id }));
    connector.into_iter().chain(tasks).collect()
}

#[cfg(test)]
mod tests {
    use super::super::request::{ConnectorType, TaskStatus};
    use super::*;

    #[test]
    fn flags_choose_what_is_restarted() {
        use State::{Failed, Restarting, Running};
        let unit = |state| UnitStatus { state, worker_id: "w".into(), version: None, trace: None };
        let cases = [
            // connector, task; include_tasks, only_failed; connector, task
            ((Running, Failed), (true, false), (Restarting, Restarting)),
            ((Running, Failed), (true, true), (Running, Restarting)),
            ((Failed, Failed), (false, true), (Restarting, Failed)),
            ((Failed, Running), (true, true), (Restarting, Running)),
            ((Running, Running), (false, true), (Running, Running)),
        ];
        for ((connector, task), (include_tasks, only_failed), expected) in cases {
            let status = ConnectorStatus {
                name: "c".into(),
                connector: unit(connector),
                tasks: vec![TaskStatus { id: 0, status: unit(task) }],
                kind: ConnectorType::Sink,
            };
            let plan = plan(status, include_tasks, only_failed);
            assert_eq!((plan.connector.state, plan.tasks[0].status.state), expected);
            let restarted = [expected.0, expected.1].iter().filter(|state| **state == Restarting).count();
            assert_eq!(units(&plan).len(), restarted);
        }
    }
}
