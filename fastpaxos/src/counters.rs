//! What a replica has done since it started. For metrics, and for the coverage of tests.

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
    /// Commands proposed again: nothing was heard of them, or there was a new coordinator.
    proposed_again,
    /// Commands not taken in because too many were waiting.
    turned_away,
    /// Votes cast in fast rounds.
    fast_votes,
    /// Votes cast in classic rounds.
    classic_votes,
    /// Slots chosen in a fast round, as counted here.
    chosen_fast,
    /// Slots chosen in a classic round, as counted here.
    chosen_classic,
    /// Slots chosen on the coordinator's word.
    chosen_by_word,
    /// Slots learned by asking.
    chosen_by_asking,
    /// Slots settled by this replica as coordinator because their votes collided.
    collisions,
    /// Of those settled, the ones in which the votes left one value only.
    settled_constrained,
    /// Stretches of the log closed by this replica as coordinator because votes were missing...
    closed_missing,
    /// ...because acceptors' counters had drifted apart...
    closed_drifted,
    /// ...or because fast rounds had just begun.
    closed_first,
    /// Losers of collisions given a slot by this replica as coordinator.
    losers_placed,
    /// Gaps filled with nothing by this replica as coordinator.
    filled,
    /// Slots given a command in a classic round by this replica as coordinator.
    led,
    /// Slots of an earlier coordinator proposed again by this replica.
    recovered,
    /// Switches of this replica as coordinator to classic rounds for want of replicas...
    classic_for_few,
    /// ...or because of collisions...
    classic_for_collisions,
    /// ...and to fast rounds.
    to_fast,
    /// Commands executed.
    executed,
    /// Commands that had won an earlier slot too.
    duplicates,
    /// The most often that a command of this replica was proposed before it was executed.
    tries_max,
    /// Own proposals whose outcome a state from another member hides.
    outcome_unknown,
    /// Pre-votes asked for.
    pre_votes,
    /// Ballots prepared to take over; those for another mode are counted as that.
    prepares,
    /// Elections won; a coordinator that changes its mode is in place already.
    elections_won,
    /// Coordination given up because a quorum was out of reach or had left for a higher ballot.
    resigned,
    /// Messages refused because of a higher ballot.
    refusals,
    /// Accepts sent again, in slots.
    retransmissions,
    /// Requests for missing slots.
    fetches,
    /// Executed slots forgotten.
    collected,
    /// Messages dropped: not of this epoch's shape, or too far ahead.
    dropped,
}
