//! `panchayat member` and `workload`: members and protocols of a running cluster.

mod cli;
mod contact;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use panchayat::{Change, GroupView, Newcomer, NodeId, ProtocolChoice, RemoteError};
use tokio::time::Instant;

use cli::{MemberAction, NewcomerArguments, Place, WorkloadAction};
pub(crate) use cli::{MemberCommand, WorkloadCommand};
use contact::Operator;

use crate::errors::CliError;

/// How often it is asked whether everybody has the state.
const POLL: Duration = Duration::from_millis(200);

pub(crate) async fn member(command: MemberCommand) -> Result<ExitCode, CliError> {
    match command.action {
        MemberAction::List { place } => {
            let operator = Operator::reach(&place).await?;
            operator.show(&place, &operator.views().await?)
        }
        MemberAction::Add { name, newcomer, place } => {
            let operator = Operator::reach(&place).await?;
            let views = operator.views().await?;
            let came = newcomer_of(&operator, &views, &name, &newcomer, None);
            operator.tell_start(&place, &views, &name, &came.1);
            operator.change(&place, |_| Change::new().add_member(came.0.clone())).await?;
            finish(&operator, &place, newcomer.wait).await
        }
        MemberAction::Remove { member, place } => {
            let operator = Operator::reach(&place).await?;
            if operator.views().await?.iter().all(|view| node_of(view, &member).is_none()) {
                eprintln!("no member is called {member}: there is nothing to remove");
            }
            operator.change(&place, |view| removing(view, &member)).await?;
            finish(&operator, &place, false).await
        }
        MemberAction::Replace { member, by, newcomer, place } => {
            let operator = Operator::reach(&place).await?;
            let views = operator.views().await?;
            let name = by.unwrap_or_else(|| member.clone());
            let old = views.iter().find_map(|view| node_of(view, &member));
            let came = newcomer_of(&operator, &views, &name, &newcomer, old);
            let is_there = |view: &GroupView| view.members.iter().any(|m| m.member.node == came.1);
            if !views.iter().all(|view| is_there(view) || node_of(view, &member).is_some()) {
                return Err(CliError::Operate(format!("no member is called {member}")));
            }
            operator.tell_start(&place, &views, &name, &came.1);
            // Asked again, the name may be the new one's by now.
            let change = |view: &GroupView| {
                let old = node_of(view, &member).filter(|old| *old != came.1);
                let change = Change::new().add_member(came.0.clone());
                old.map_or(change.clone(), |old| change.remove_member(old))
            };
            operator.change(&place, change).await?;
            finish(&operator, &place, newcomer.wait).await
        }
    }
}

pub(crate) async fn workload(command: WorkloadCommand) -> Result<ExitCode, CliError> {
    let WorkloadAction::Set { name, protocol, leader, place } = command.action;
    let spoken = match leader {
        Some(leader) => format!("{protocol} leader {leader}"),
        None => protocol,
    };
    let protocol: ProtocolChoice = spoken.parse().map_err(CliError::Protocol)?;
    let mut operator = Operator::reach(&place).await?;
    operator.only(name.as_deref())?;
    operator.change(&place, |_| Change::new().protocol(protocol.clone())).await?;
    finish(&operator, &place, false).await
}

/// The newcomer, and its number: what it has already if it was added before.
fn newcomer_of(
    operator: &Operator,
    views: &[GroupView],
    name: &str,
    arguments: &NewcomerArguments,
    replaces: Option<NodeId>,
) -> (Newcomer, NodeId) {
    let there = views.iter().flat_map(|view| &view.members).map(|member| &member.member);
    let there = there.filter(|member| member.name == name && member.addr == arguments.addr);
    let free = views.iter().map(|view| view.next_node).max().unwrap_or(NodeId(1));
    let node = arguments.node.map(NodeId).or(there.map(|member| member.node).max());
    let node = node.unwrap_or(free);
    let members = views.iter().flat_map(|view| &view.members).map(|member| &member.member);
    let mut newcomer = Newcomer::new(name, node, arguments.addr);
    for other in members.filter(|other| other.node != node && Some(other.node) != replaces) {
        if let Some(far) = operator.round_trip(name, &other.name) {
            newcomer = newcomer.round_trip(other.node, far);
        }
    }
    (newcomer, node)
}

fn node_of(view: &GroupView, named: &str) -> Option<NodeId> {
    let number = named.strip_prefix("node-").and_then(|number| number.parse().ok());
    view.member(named).map(|member| member.member.node).or(number.map(NodeId))
}

/// Whoever is no member needs not be removed.
fn removing(view: &GroupView, named: &str) -> Change {
    node_of(view, named).map_or(Change::new(), |node| Change::new().remove_member(node))
}

async fn finish(operator: &Operator, place: &Place, wait: bool) -> Result<ExitCode, CliError> {
    let deadline = Instant::now() + place.timeout;
    let mut views = operator.views().await?;
    let mut told = false;
    while wait && !views.iter().all(GroupView::is_complete) {
        if Instant::now() >= deadline {
            return Err(CliError::Operate(
                "the change is made, but not every member has the state: \
                                          is the new one running?"
                    .to_owned(),
            ));
        }
        if !std::mem::replace(&mut told, true) {
            eprintln!("the change is made; waiting until every member has the state");
        }
        tokio::time::sleep(POLL).await;
        views = operator.views().await?;
    }
    operator.show(place, &views)
}

/// Why a change failed, and whether for certain.
fn failed(error: RemoteError) -> CliError {
    if error.is_unknown() {
        CliError::OperateUnknown(error.to_string())
    } else {
        CliError::Operate(error.to_string())
    }
}
