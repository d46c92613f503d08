//! Epochs: one order of commands, whoever the members are and whatever protocol they run.
//!
//! A group lives in a sequence of epochs. Each has fixed members, a protocol and its parameters
//! ([`Epoch`]). An epoch ends with a *seal*: a command of its own protocol that conflicts with
//! everything and says what the next epoch is. Membership change, replacement of a lost replica and
//! change of protocol are all "seal, then open the next epoch": one mechanism, and the protocols know
//! nothing of it.
//!
//! [`Epochs`] is itself a [`Protocol`](panchayat_consensus::Protocol), around the one of the current
//! epoch. So journal, snapshots, transfers, sessions and the simulator serve it as they serve any other.
//!
//! # The rules
//!
//! 1. **The first seal wins.** Every command conflicts with a seal, so all replicas execute the same
//!    commands before it. With its execution the epoch is over: the state is the *sealed state*.
//! 2. **What an epoch orders after its seal is void.** A replica whose own command is void, or was not
//!    ordered when the seal executed here, proposes it again in the next epoch: everything before the
//!    seal has been executed by then, so it can only come after. Callers notice a pause.
//! 3. **The next epoch starts at every member from the sealed state**, executed or taken over. A
//!    member without it has no vote. Nothing of the new epoch leaves before the seal is durable here.
//! 4. **A majority of the new members were members before**, so that the new epoch can begin at once,
//!    and the others catch up as learners ([`Epoch::may_be_followed_by`]).
//! 5. **Times go on.** Commands of an epoch are proposed after its opening seal was: what was promised
//!    of proposal times in earlier epochs holds for good.
//! 6. **Old members go on helping** with the sealed epoch until a slow quorum of the new members has
//!    executed the seal durably, and a while longer; then whoever still asks is told which epoch it is, and
//!    takes over a state.
//! 7. **A node that was removed never comes back** under its number: joining numbers grow.
//!
//! A proposer may be told twice that its command is committed, or committed and then that it was not
//! applied: the first commit was void.
//!
//! Why a read of an old epoch misses nothing: a protocol vouches for a read only when everything
//! *chosen* before it began is handed out, the seal included. So while the new epoch answers
//! anybody, a read of the old one waits for the seal, and is then asked again in the new epoch.
//!
//! | file | what |
//! |---|---|
//! | `epoch` | what an epoch is, and which may follow which |
//! | `message`, `record` | what replicas say, and what the journal keeps |
//! | `order` | the three protocols under one roof |
//! | `run` | one epoch's protocol at work: places and seats, its effects into ours |
//! | `passage` | what becomes of its effects: the seal, what is void |
//! | `replica` | the state, and where each input goes |
//! | `change` | from one epoch to the next |
//! | `early` | messages of an epoch that has not begun here |
//! | `linger` | helping with the sealed epoch; when that ends |
//! | `behind` | others are ahead: when to ask for a state, when to retire |
//! | `restore` | back from the journal; taking over a state |
//! | `adaptive` | groups that choose their protocol by themselves: measuring, advice, when to move |
//! | `mutation` | known mistakes, for checks of the checkers |

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod adaptive;
mod behind;
mod change;
mod config;
mod early;
mod epoch;
mod linger;
mod message;
mod mutation;
mod order;
mod passage;
mod record;
mod replica;
mod restore;
mod run;

pub use adaptive::{Advice, Decision, Report, Seen, Watch};
pub use config::{Config, Openings, Timing};
pub use epoch::{Epoch, EpochError, Member, Opening, Order};
pub use message::{Body, Message};
#[cfg(feature = "mutations")]
pub use mutation::Mutation;
pub use order::{OrderConfig, Ordering};
pub use record::{Record, RecordBody};
pub use replica::{Epochs, Standing};
