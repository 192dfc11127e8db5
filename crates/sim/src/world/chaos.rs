//! What goes wrong, and when it is mended.

use std::time::Duration;

use super::refuse::Refusal;
use super::{Body, Event, ProcessId, Role, World};
use crate::ledger::Checked;
use crate::tally::Fault;

/// Most that a calendar is off. More would expire what brokers keep for a day or longer.
const MOST_SKEW_MS: i64 = 3 * 60 * 60 * 1000;
/// Processes that live at most, so that a run stays quick.
const MOST_PROCESSES: usize = 10;

/// Something that is over.
#[derive(Clone, Debug)]
pub(super) enum Mend {
    Disk,
    FullDisk,
    BrokerClock,
    Clock(ProcessId),
}

impl World {
    /// Lets something go wrong, and plans the next.
    pub(super) fn fault(&mut self) -> Checked {
        if self.is_calm() {
            return Ok(());
        }
        let pause = self.rng.between(100, self.plan.fault_every);
        self.after_ms(pause, Event::Fault);
        match self.plan.choose(&mut self.rng) {
            Some(fault) => self.make(fault),
            None => Ok(()),
        }
    }

    fn make(&mut self, fault: Fault) -> Checked {
        self.log(|| format!("fault: {fault:?}"));
        let made = match fault {
            // Made by the network itself, message by message.
            Fault::RequestLost | Fault::AnswerLost | Fault::RequestLate | Fault::Delay => return Ok(()),
            Fault::Reset => self.any_connection(|world, connection| {
                world.after_ms(1, Event::Broken { connection });
            }),
            Fault::HalfClosedToBroker => {
                self.any_connection(|world, connection| world.network.kill_direction(connection, true))
            }
            Fault::HalfClosedToClient => {
                self.any_connection(|world, connection| world.network.kill_direction(connection, false))
            }
            Fault::Partition => self.any_process(
                |_| true,
                |world, process| {
                    let until = world.now + Duration::from_millis(world.rng.between(500, 15_000));
                    world.network.cut(process, until);
                },
            ),
            Fault::Frozen => self.any_process(
                |_| true,
                |world, process| {
                    let until = world.now + Duration::from_millis(world.rng.between(500, 20_000));
                    world.processes[process].frozen_until = until;
                },
            ),
            Fault::ClientClockJump => self.any_process(
                |_| true,
                |world, process| {
                    let by = world.jump();
                    world.processes[process].skew_ms = by;
                    let lasts = world.rng.between(1_000, 30_000);
                    world.after_ms(lasts, Event::Mend(Mend::Clock(process)));
                },
            ),
            Fault::ProducerKilled => {
                let is_plain = |body: &Body| matches!(body, Body::Producer(app) if app.transactional.is_none());
                self.any_process(is_plain, |world, process| {
                    world.kill_producer(process);
                    world.start_later(Role::Producer);
                })
            }
            Fault::TransactionalKilled => self.any_transactional(|world, process, id| {
                world.kill_producer(process);
                world.start_later(Role::Transactional { id });
            }),
            Fault::TransactionalReplaced => self.any_transactional(|world, process, id| {
                let until = world.now + Duration::from_millis(world.rng.below(30_000));
                world.processes[process].frozen_until = until;
                world.start_later(Role::Transactional { id });
            }),
            Fault::ReaderRestarted => self.any_process(
                |body| matches!(body, Body::Reader(_)),
                |world, process| {
                    world.kill(process);
                    world.start_later(Role::Reader);
                },
            ),
            Fault::MemberKilled => self.any_process(
                |body| matches!(body, Body::Member(_)),
                |world, process| {
                    let instance = world.member(process).instance;
                    world.kill(process);
                    world.start_later(Role::Member { instance });
                },
            ),
            Fault::StaticRestarted => {
                let is_static = |body: &Body| matches!(body, Body::Member(app) if app.instance.is_some());
                self.any_process(is_static, |world, process| {
                    let instance = world.member(process).instance;
                    if world.rng.one_in(2) {
                        world.kill(process);
                    }
                    world.spawn(Role::Member { instance });
                })
            }
            // Counted when it has left.
            Fault::MemberLeft => {
                self.any_process(
                    |body| matches!(body, Body::Member(_)),
                    |world, process| {
                        let instance = world.member(process).instance;
                        world.member(process).leaves = true;
                        world.start_later(Role::Member { instance });
                    },
                );
                return Ok(());
            }
            Fault::MemberStalled => self.any_process(
                |body| matches!(body, Body::Member(_)),
                |world, process| {
                    world.member(process).stalls_ms = world.rng.between(11_000, 40_000);
                },
            ),
            _ => return self.make_at_broker(fault),
        };
        if made {
            self.tally.fault(fault);
        }
        Ok(())
    }

    fn make_at_broker(&mut self, fault: Fault) -> Checked {
        if !self.server.is_up() {
            return Ok(());
        }
        let lasts = Duration::from_millis(self.rng.between(200, 12_000));
        let until = self.now + lasts;
        match fault {
            Fault::BrokerKilled => self.broker_dies("between two writes"),
            // Counted when it strikes.
            Fault::BrokerKilledInWrite => {
                let (changes, torn) = (self.rng.below(6), self.rng.below(300));
                self.server.store.die_after(changes, torn);
                return Ok(());
            }
            Fault::PowerLost => {
                self.broker_dies("for want of power");
                self.end_era();
                let rng = &mut self.rng;
                self.server.store.crash_machine(|_, at_risk| match rng.below(3) {
                    0 => 0,
                    1 => at_risk,
                    _ => rng.below(at_risk + 1),
                });
            }
            Fault::BrokerStopped => self.stop_broker(),
            // Never to an earlier moment: what came first is served first.
            Fault::BrokerStalled => self.server.stalled_until = self.server.stalled_until.max(until),
            Fault::SlowDisk => {
                self.server.slow_disk = Duration::from_millis(self.rng.between(5, 800));
                self.at(until, Event::Mend(Mend::Disk));
            }
            Fault::FullDisk => {
                let room = self.rng.below(2_000);
                self.server.store.limit_room(Some(room));
                self.server.is_full = true;
                self.at(until, Event::Mend(Mend::FullDisk));
            }
            Fault::BrokerClockForward | Fault::BrokerClockBack => {
                let by = self.jump().abs();
                self.server.skew_ms = if fault == Fault::BrokerClockForward { by } else { -by };
                self.at(until, Event::Mend(Mend::BrokerClock));
            }
            Fault::CoordinatorLoading => self.server.refusal = Some((Refusal::Loading, until)),
            Fault::CoordinatorMoved => self.server.refusal = Some((Refusal::NotCoordinator, until)),
            Fault::LeaderMoved => self.server.refusal = Some((Refusal::NotLeader, until)),
            _ => return Ok(()),
        }
        self.tally.fault(fault);
        Ok(())
    }

    pub(super) fn mend(&mut self, mend: Mend) -> Checked {
        self.log(|| format!("over: {mend:?}"));
        match mend {
            Mend::Disk => self.server.slow_disk = Duration::ZERO,
            Mend::FullDisk => {
                self.server.store.limit_room(None);
                self.server.is_full = false;
            }
            Mend::BrokerClock => self.server.skew_ms = 0,
            Mend::Clock(process) => self.processes[process].skew_ms = 0,
        }
        Ok(())
    }

    /// No fault is made any more; those that last end by themselves or now.
    pub(super) fn calm_down(&mut self) {
        self.log(|| "faults are over".to_owned());
        for mend in [Mend::Disk, Mend::FullDisk, Mend::BrokerClock] {
            self.at(self.now, Event::Mend(mend));
        }
        if !self.server.store.has_died() {
            self.server.store.revive();
        }
        self.server.refusal = None;
        if self.living(|body| matches!(body, Body::Member(app) if !app.leaves)).is_empty() {
            self.spawn(Role::Member { instance: None });
        }
        if self.living(|body| matches!(body, Body::Reader(_))).is_empty() {
            self.spawn(Role::Reader);
        }
    }

    /// By how much a calendar is off after a jump.
    fn jump(&mut self) -> i64 {
        let most = self.rng.pick(&[2_000, 90_000, MOST_SKEW_MS]);
        let by = self.rng.below(most.unsigned_abs() + 1) as i64;
        if self.rng.one_in(2) { by } else { -by }
    }

    fn any_connection(&mut self, make: impl FnOnce(&mut Self, u64)) -> bool {
        let all = self.network.in_use();
        if all.is_empty() {
            return false;
        }
        let one = self.rng.pick(&all);
        make(self, one);
        true
    }

    fn any_process(&mut self, wanted: impl Fn(&Body) -> bool, make: impl FnOnce(&mut Self, ProcessId)) -> bool {
        let all = self.living(|body| !matches!(body, Body::Gone) && wanted(body));
        if all.is_empty() {
            return false;
        }
        let one = self.rng.pick(&all);
        make(self, one);
        true
    }

    fn any_transactional(&mut self, make: impl FnOnce(&mut Self, ProcessId, usize)) -> bool {
        let is_transactional = |body: &Body| matches!(body, Body::Producer(app) if app.transactional.is_some());
        self.any_process(is_transactional, |world, process| {
            let id = match &world.processes[process].body {
                Body::Producer(app) => app.transactional.as_ref().map_or(0, |app| app.id),
                _ => 0,
            };
            make(world, process, id);
        })
    }

    fn start_later(&mut self, role: Role) {
        if self.living(|body| !matches!(body, Body::Gone)).len() >= MOST_PROCESSES {
            return;
        }
        let pause = self.rng.between(1, 8_000);
        self.after_ms(pause, Event::Spawn(role));
    }

    pub(super) fn kill_producer(&mut self, process: ProcessId) {
        if let Body::Producer(app) = &self.processes[process].body {
            let source = app.source;
            self.ledger.orphan(source);
        }
        self.kill(process);
    }
}
