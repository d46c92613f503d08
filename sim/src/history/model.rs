//! What clients asked and what they were told: the input of every checker.
//!
//! An operation is an interval: it took effect, if at all, at one moment between its invocation
//! and its return. Operation `a` precedes `b` in **real time** if `a` returned before `b` was
//! invoked; operations neither of which precedes the other are concurrent.
//!
//! An operation whose outcome the client never learnt has no return: it may have taken effect at
//! any time after its invocation, or never. That is not the same as one that failed, which is
//! known to have taken no effect.

/// A moment: microseconds, and within one microsecond the order of events.
///
/// A simulated client may invoke its next operation in the very microsecond in which the previous
/// one returned. [`History::invoke`] and [`History::returned`] therefore number events as they
/// are recorded, so that ties are decided by what happened first. Times written down without that
/// order (see [`Operation::new`]) make equal microseconds concurrent: an invocation then sorts
/// before a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    at_us: u64,
    order: u64,
}

impl Moment {
    /// Microseconds since whatever the clients' common clock counts from.
    pub fn at_us(self) -> u64 {
        self.at_us
    }
}

/// How an operation ended, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// It took effect and the client was told this.
    Returned {
        /// When the client was told.
        at: Moment,
        /// What it was told.
        result: R,
    },
    /// It certainly took no effect, and never will.
    Failed,
    /// The client does not know: it may take effect at any time after the invocation, or never.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, R> {
    process: u64,
    invoked: Moment,
    call: C,
    outcome: Outcome<R>,
}

impl<C, R> Operation<C, R> {
    /// `process` asked `call` at `invoked_us`; nothing is known of its outcome yet.
    ///
    /// For histories gathered from several recorders: equal microseconds count as concurrent.
    pub fn new(process: u64, invoked_us: u64, call: C) -> Self {
        let invoked = Moment { at_us: invoked_us, order: 0 };
        Self { process, invoked, call, outcome: Outcome::Unknown }
    }

    /// The same operation, of which `result` was told at `returned_us`.
    ///
    /// # Panics
    /// If it returns before it was invoked, or had already ended.
    pub fn returning(self, returned_us: u64, result: R) -> Self {
        self.end_at(Moment { at_us: returned_us, order: u64::MAX }, result)
    }

    /// The same operation, known to have taken no effect.
    ///
    /// # Panics
    /// If it had already ended.
    pub fn failing(self) -> Self {
        assert!(matches!(self.outcome, Outcome::Unknown), "an operation ends once");
        Self { outcome: Outcome::Failed, ..self }
    }

    fn end_at(self, at: Moment, result: R) -> Self {
        assert!(matches!(self.outcome, Outcome::Unknown), "an operation ends once");
        assert!(
            self.invoked < at,
            "an operation invoked at {} us cannot return at {} us",
            self.invoked.at_us,
            at.at_us
        );
        Self { outcome: Outcome::Returned { at, result }, ..self }
    }

    /// The client that asked.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// When it asked.
    pub fn invoked(&self) -> Moment {
        self.invoked
    }

    /// What it asked.
    pub fn call(&self) -> &C {
        &self.call
    }

    /// How it ended.
    pub fn outcome(&self) -> &Outcome<R> {
        &self.outcome
    }

    /// What it was told, if it was told anything.
    pub fn result(&self) -> Option<&R> {
        match &self.outcome {
            Outcome::Returned { result, .. } => Some(result),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    /// When it returned, if it did.
    pub fn returned(&self) -> Option<Moment> {
        match self.outcome {
            Outcome::Returned { at, .. } => Some(at),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    /// Whether it precedes `other` in real time.
    pub fn precedes<C2, R2>(&self, other: &Operation<C2, R2>) -> bool {
        self.returned().is_some_and(|returned| returned < other.invoked)
    }

    /// Its client and interval, for reports: `p3 [100..250 us]`.
    pub fn interval_text(&self) -> String {
        let (process, from) = (self.process, self.invoked.at_us);
        match &self.outcome {
            Outcome::Returned { at, .. } => format!("p{process} [{from}..{} us]", at.at_us),
            Outcome::Failed => format!("p{process} [{from} us, failed]"),
            Outcome::Unknown => format!("p{process} [{from} us, outcome unknown]"),
        }
    }
}

/// Names one operation of the [`History`] that gave it out: its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

impl OpId {
    /// The position in [`History::operations`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// The operations of all clients, in the order in which they were recorded.
#[derive(Clone, Debug)]
pub struct History<C, R> {
    operations: Vec<Operation<C, R>>,
    events: u64,
}

impl<C, R> Default for History<C, R> {
    fn default() -> Self {
        Self { operations: Vec::new(), events: 0 }
    }
}

impl<C, R> History<C, R> {
    /// A history without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `process` asks `call` at `at_us`. Until told otherwise its outcome is unknown.
    pub fn invoke(&mut self, process: u64, at_us: u64, call: C) -> OpId {
        let invoked = self.event(at_us);
        self.push(Operation { process, invoked, call, outcome: Outcome::Unknown })
    }

    /// Records that `op` returned `result` at `at_us`.
    ///
    /// # Panics
    /// If `op` had already ended, or returns before it was invoked: the recorder is then wrong
    /// and no verdict on its history would mean anything.
    pub fn returned(&mut self, op: OpId, at_us: u64, result: R) {
        let at = self.event(at_us);
        let operation = &mut self.operations[op.0];
        assert!(matches!(operation.outcome, Outcome::Unknown), "an operation ends once");
        assert!(operation.invoked < at, "an operation returned before it was invoked");
        operation.outcome = Outcome::Returned { at, result };
    }

    /// Records that `op` is known to have taken no effect.
    ///
    /// # Panics
    /// If `op` had already ended.
    pub fn failed(&mut self, op: OpId) {
        let operation = &mut self.operations[op.0];
        assert!(matches!(operation.outcome, Outcome::Unknown), "an operation ends once");
        operation.outcome = Outcome::Failed;
    }

    /// Adds an operation recorded elsewhere.
    pub fn push(&mut self, operation: Operation<C, R>) -> OpId {
        // Checkers number operations, and nodes made from them, with u32.
        assert!(self.operations.len() < u32::MAX as usize / 4, "too many operations");
        self.operations.push(operation);
        OpId(self.operations.len() - 1)
    }

    /// The operations, as recorded.
    pub fn operations(&self) -> &[Operation<C, R>] {
        &self.operations
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn event(&mut self, at_us: u64) -> Moment {
        self.events += 1;
        Moment { at_us, order: self.events }
    }
}

impl<C, R> FromIterator<Operation<C, R>> for History<C, R> {
    fn from_iter<I: IntoIterator<Item = Operation<C, R>>>(operations: I) -> Self {
        let mut history = Self::new();
        for operation in operations {
            history.push(operation);
        }
        history
    }
}
