//! What a replica has done since it started. For metrics, and for the simulator's coverage.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of events since this run of the replica began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Proposals of this replica's clients.
    proposed,
    /// Proposals rejected at a limit.
    overloaded,
    /// Commands sent to a leader.
    forwarded,
    /// Commands sent to a leader again.
    forwarded_again,
    /// Forwarded commands turned away by this replica as leader, to come again later.
    busy,
    /// Slots given a command by this replica as leader.
    led,
    /// Gaps filled with nothing by this replica as leader.
    filled,
    /// Slots of an earlier leader proposed again by this replica.
    recovered,
    /// Slots chosen, as counted here.
    chosen_by_votes,
    /// Slots chosen, on the leader's word.
    chosen_by_word,
    /// Slots learned by asking.
    chosen_by_asking,
    /// Commands executed.
    executed,
    /// Commands that had won an earlier slot too.
    duplicates,
    /// Own proposals whose outcome a state from another member hides.
    outcome_unknown,
    /// Own proposals whose outcome was not known for too long.
    given_up,
    /// Own proposals that no leader was given for too long: rejected.
    never_given,
    /// Pre-votes asked for.
    pre_votes,
    /// Ballots prepared.
    prepares,
    /// Elections won.
    elections_won,
    /// Leaderships given up because a quorum was out of reach or had left for a higher ballot.
    resigned,
    /// Times it came to run so late that it held the time against nobody.
    absences,
    /// Leaderships handed over.
    transferred,
    /// Candidates not helped because of a lease.
    held_by_lease,
    /// Messages refused because of a higher ballot.
    refusals,
    /// Accepts sent again, in slots.
    retransmissions,
    /// Requests for missing slots.
    fetches,
    /// Executed slots forgotten.
    collected,
    /// Reads answered at once, under a lease.
    lease_reads,
    /// Reads answered after a quorum confirmed the leader.
    index_reads,
    /// Reads answered by a quorum of acceptors.
    quorum_reads,
    /// Reads refused.
    reads_refused,
    /// Messages dropped: not of this epoch's shape, or too far ahead.
    dropped,
}
