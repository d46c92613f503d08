//! Payments between accounts, each written into the statements of both, and audits of everything.
//!
//! A payment's reference stands once in the payer's statement and once in the payee's, so what the
//! checker of lists says of the statements is said of the payments; and every audit's balances must
//! be what its statements come to. Together: the history is strictly serializable, no payment was
//! applied twice, none was lost after its acknowledgement, and no money was made or lost at any
//! moment that anybody saw.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use panchayat::Cluster;
use panchayat::conformance::Draw;
use panchayat::identity::Identity;
use panchayat::kv::{Condition, KvCommand, KvOp, KvOutput, KvStore};
use panchayat_sim::history::{ListAppendHistory, Lists, TxnOp, check_list_append};
use tokio::task::JoinHandle;

use crate::asking::{Asking, Known};
use crate::load::{elements, wait_until};

/// The workload.
pub(crate) const NAME: &str = "payments";

const ACCOUNTS: u64 = 12;
const OPENING_PAISE: i64 = 500;
/// Clients that ask whichever replica answers, spread over the seats.
const CLIENTS: u64 = 6;

/// A payment, by its reference. Deposits have no payer.
#[derive(Clone, Copy, Debug)]
struct Payment {
    from: Option<u64>,
    to: u64,
    paise: i64,
}

/// What somebody was shown of all accounts.
struct Audit {
    balances: Vec<i64>,
    statements: Lists,
}

pub(crate) struct Payments {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    cluster: Cluster,
    identity: Identity,
    start: Instant,
    stop: AtomicBool,
    acknowledged: Vec<AtomicU64>,
    refused: AtomicU64,
    repeated: AtomicU64,
    /// Names for whoever has one operation after the other.
    next_process: AtomicU64,
    /// By reference, from 1.
    payments: Mutex<Vec<Payment>>,
    history: Mutex<ListAppendHistory<u64>>,
    audits: Mutex<Vec<Audit>>,
}

impl Payments {
    /// Opens the accounts, and lets clients pay.
    pub(crate) async fn start(cluster: &Cluster, identity: &Identity) -> Self {
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            identity: identity.clone(),
            start: Instant::now(),
            stop: AtomicBool::new(false),
            acknowledged: cluster.members.iter().map(|_| AtomicU64::new(0)).collect(),
            refused: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            next_process: AtomicU64::new(0),
            payments: Mutex::default(),
            history: Mutex::new(ListAppendHistory::new()),
            audits: Mutex::default(),
        });
        let mut bank = Asking::new(cluster, identity, NAME);
        let process = shared.process();
        for to in 0..ACCOUNTS {
            let opening = Payment { from: None, to, paise: OPENING_PAISE };
            shared.pay(&mut bank, process, 0, opening, false).await;
        }
        let clients = (0..CLIENTS).map(|client| {
            let shared = shared.clone();
            tokio::spawn(async move { shared.run_client(client).await })
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    /// Waits until `more` payments have been acknowledged at all, by whichever replica.
    pub(crate) async fn wait_for_more(&self, more: u64, when: &str) {
        let counts = &self.shared.acknowledged;
        let total = || counts.iter().map(|at| at.load(Ordering::Relaxed)).sum();
        wait_until(total, more, when).await;
    }

    /// Waits until `more` payments begun at `seat` have been acknowledged.
    pub(crate) async fn wait_for_more_at(&self, seat: usize, more: u64, when: &str) {
        wait_until(|| self.shared.acknowledged[seat].load(Ordering::Relaxed), more, when).await;
    }

    /// Stops the clients, audits at every replica, and checks everything.
    pub(crate) async fn finish(self) {
        let shared = self.shared;
        shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client ended in order");
        }
        for seat in 0..shared.cluster.members.len() {
            let mut auditor = Asking::new(&shared.cluster, &shared.identity, NAME);
            let deadline = Instant::now() + crate::load::PATIENCE;
            while !shared.audit(&mut auditor, shared.process(), seat).await {
                assert!(Instant::now() < deadline, "no audit at seat {seat}");
            }
        }
        let history = shared.history.lock().expect("not poisoned");
        let report = check_list_append(&history);
        assert!(report.is_strictly_serializable(), "{report}");
        let payments = shared.payments.lock().expect("not poisoned");
        let audits = shared.audits.lock().expect("not poisoned");
        audits.iter().for_each(|audit| audit.check(&payments));
        println!(
            "  {} payments, {} of them refused for lack of money, {} attempts repeated elsewhere, \
             {} audits: {report}",
            payments.len(),
            shared.refused.load(Ordering::Relaxed),
            shared.repeated.load(Ordering::Relaxed),
            audits.len(),
        );
    }
}

impl Audit {
    /// Balances are what the statements come to, and all of them together what came in.
    fn check(&self, payments: &[Payment]) {
        let mut total = 0;
        for account in 0..ACCOUNTS {
            let statement = &self.statements[account as usize];
            let expected: i64 = statement
                .iter()
                .map(|reference| {
                    let payment = payments[*reference as usize - 1];
                    if payment.to == account { payment.paise } else { -payment.paise }
                })
                .sum();
            let balance = self.balances[account as usize];
            assert_eq!(balance, expected, "account {account} with {statement:?}");
            assert!(balance >= 0, "account {account} owes {balance}");
            total += balance;
        }
        assert_eq!(total, ACCOUNTS as i64 * OPENING_PAISE, "money was made or lost");
    }
}

impl Shared {
    async fn run_client(&self, client: u64) {
        let mut asking = Asking::new(&self.cluster, &self.identity, NAME);
        let mut draw = Draw::new(client);
        let seat = client as usize % self.cluster.members.len();
        let mut process = self.process();
        while !self.stop.load(Ordering::Relaxed) {
            if draw.percent(10) {
                if !self.audit(&mut asking, process, seat).await {
                    // An unknown outcome, if only of a read: a new name for what follows says so.
                    process = self.process();
                }
                continue;
            }
            let from = draw.below(ACCOUNTS);
            let to = (from + 1 + draw.below(ACCOUNTS - 1)) % ACCOUNTS;
            let payment = Payment { from: Some(from), to, paise: 1 + draw.below(200) as i64 };
            self.pay(&mut asking, process, seat, payment, draw.percent(10)).await;
        }
        self.repeated.fetch_add(asking.repeated, Ordering::Relaxed);
    }

    /// Pays, and stays until it is known what became of it. An `impatient` client asks somebody
    /// else too before it has its answer.
    async fn pay(
        &self,
        asking: &mut Asking,
        process: u64,
        seat: usize,
        payment: Payment,
        impatient: bool,
    ) {
        let reference = {
            let mut payments = self.payments.lock().expect("not poisoned");
            payments.push(payment);
            payments.len() as u64
        };
        let accounts = payment.from.into_iter().chain([payment.to]);
        let ops = accounts.map(|key| TxnOp::Append { key, element: reference }).collect();
        let op = {
            let mut history = self.history.lock().expect("not poisoned");
            history.invoke(process, self.now_us(), ops)
        };
        let (request, command) = (asking.next(), payment.command(reference));
        let known = if impatient {
            let mut other = Asking::new(&self.cluster, &self.identity, NAME);
            let elsewhere = (seat + 1) % self.cluster.members.len();
            // Whatever the other is told: what counts is that it is paid once.
            let (known, _) = tokio::join!(
                asking.settle::<KvStore>(request, seat, &command),
                other.attempt::<KvStore>(request, elsewhere, &command),
            );
            known
        } else {
            asking.settle::<KvStore>(request, seat, &command).await
        };
        let mut history = self.history.lock().expect("not poisoned");
        match known {
            // What is refused answers little: only a payment's output can be too long.
            Known::Answer(KvOutput::Committed(_)) | Known::Applied => {
                history.returned(op, self.now_us(), Vec::new());
            }
            Known::Answer(KvOutput::ConditionFailed { .. }) => {
                history.failed(op);
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Known::Answer(other) => panic!("{payment:?} was answered {other:?}"),
        }
        self.acknowledged[seat].fetch_add(1, Ordering::Relaxed);
    }

    /// Reads everything at once; false without an answer.
    async fn audit(&self, asking: &mut Asking, process: u64, seat: usize) -> bool {
        let op = {
            let ops = (0..ACCOUNTS).map(|key| TxnOp::Read { key }).collect();
            let mut history = self.history.lock().expect("not poisoned");
            history.invoke(process, self.now_us(), ops)
        };
        let keys = (0..ACCOUNTS).map(balance_key).chain((0..ACCOUNTS).map(statement_key));
        let ops = keys.map(|key| KvOp::Get { key }).collect();
        let command = KvCommand::Transaction { conditions: Vec::new(), ops };
        let answer = asking.attempt::<KvStore>(asking.next(), seat, &command).await;
        let Some(Ok(KvOutput::Committed(outputs))) = answer else { return false };
        let values: Vec<Bytes> = outputs
            .into_iter()
            .map(|output| match output {
                KvOutput::Value(value) => value.unwrap_or_default(),
                other => panic!("an audit answered {other:?}"),
            })
            .collect();
        let (balances, statements) = values.split_at(ACCOUNTS as usize);
        let balances = balances.iter().map(|value| match &value[..] {
            b"" => 0,
            digits => std::str::from_utf8(digits).expect("text").parse().expect("a number"),
        });
        let statements: Lists = statements.iter().map(|list| elements(list)).collect();
        let mut history = self.history.lock().expect("not poisoned");
        history.returned(op, self.now_us(), statements.clone());
        if !self.is_opening(&statements) {
            let audit = Audit { balances: balances.collect(), statements };
            self.audits.lock().expect("not poisoned").push(audit);
        }
        true
    }

    /// Whether some account has not been opened yet.
    fn is_opening(&self, statements: &Lists) -> bool {
        statements.iter().any(Vec::is_empty)
    }

    fn process(&self) -> u64 {
        self.next_process.fetch_add(1, Ordering::Relaxed)
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

impl Payment {
    fn command(&self, reference: u64) -> KvCommand {
        let suffix = Bytes::copy_from_slice(&reference.to_le_bytes());
        let line = |account| KvOp::Append { key: statement_key(account), suffix: suffix.clone() };
        let mut ops = vec![KvOp::Add { key: balance_key(self.to), amount: self.paise }];
        ops.push(line(self.to));
        let mut conditions = Vec::new();
        if let Some(from) = self.from {
            conditions.push(Condition::AtLeast { key: balance_key(from), least: self.paise });
            ops.push(KvOp::Add { key: balance_key(from), amount: -self.paise });
            ops.push(line(from));
        }
        KvCommand::Transaction { conditions, ops }
    }
}

fn balance_key(account: u64) -> Bytes {
    Bytes::from(format!("balance-{account}"))
}

fn statement_key(account: u64) -> Bytes {
    Bytes::from(format!("statement-{account}"))
}
