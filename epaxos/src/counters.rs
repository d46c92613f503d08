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
    /// Instances proposed here.
    proposed,
    /// Of those, the ones that found a conflicting command which was not executed here.
    contended,
    /// Own instances committed in one round trip.
    fast_commits,
    /// Own instances committed in two round trips.
    slow_commits,
    /// Instances committed by this replica's recoveries.
    recovered_commits,
    /// Instances committed as Nop.
    nops,
    /// Own commands proposed again because their instance was committed as Nop.
    proposed_again,
    /// Proposals rejected at a limit.
    overloaded,
    /// Recoveries begun, each at a ballot of its own.
    recoveries,
    /// Recovery rule 1: someone reports a committed value.
    recovery_committed,
    /// Recovery rule 2: someone reports an accepted value.
    recovery_accepted,
    /// Recovery rule 3: the initial coordinator takes part, so it did not commit.
    recovery_coordinator,
    /// Recovery rule 4: enough pre-accepted unchanged; validate.
    recovery_validate,
    /// Recovery rule 5: too few pre-accepted unchanged.
    recovery_nop,
    /// Validation found nothing against the value.
    validate_accept,
    /// Validation found a committed instance, or one whose coordinator is outside the quorum.
    validate_nop,
    /// Validation ended in a wait.
    validate_wait,
    /// A wait ended: an invalidator is committed without the instance among its dependencies.
    waiting_nop,
    /// A wait ended: no invalidator is left.
    waiting_accept,
    /// A wait ended: an invalidator's recoverer waits too, with too many endorsers for both.
    waiting_deadlock,
    /// A wait ended with a late report from outside the quorum.
    waiting_late,
    /// Messages sent again.
    retransmissions,
    /// Instances asked for.
    fetches,
    /// Messages refused because of a higher ballot.
    refusals,
    /// Messages dropped: not of this epoch's shape, or too far ahead.
    dropped,
    /// Instances dropped because everyone who counts has executed them.
    collected,
    /// Times a member was counted as absent from then on.
    marked_absent,
    /// Times a member was taken back.
    taken_back,
    /// Messages of absent members dropped.
    fenced,
    /// Messages about collected instances answered as gone.
    gone,
    /// Own endorsements withdrawn when a state was taken over.
    withdrawn,
    /// States taken over from other members.
    installed,
    /// Commands executed.
    executed,
    /// Reads begun that take no place in the order.
    quorum_reads,
    /// Strongly connected components of more than one instance executed.
    components,
    /// Instances in those components.
    component_members,
    /// Size of the largest component executed.
    component_max,
    /// Steps of the dependency graph.
    graph_steps,
}
