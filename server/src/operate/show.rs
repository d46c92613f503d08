//! Members, for people and programs.

use std::process::ExitCode;

use panchayat::{GroupView, Standing};
use serde_json::json;

use super::cli::Place;
use super::contact::Operator;
use crate::errors::CliError;
use crate::table::table;

impl Operator {
    pub(super) fn show(&self, place: &Place, views: &[GroupView]) -> Result<ExitCode, CliError> {
        if place.json {
            let groups: Vec<_> = self.workloads.iter().zip(views).map(as_json).collect();
            println!("{}", json!({ "groups": groups }));
            return Ok(ExitCode::SUCCESS);
        }
        for (workload, view) in self.workloads.iter().zip(views) {
            let of = if workload.is_empty() { String::new() } else { format!("{workload}: ") };
            println!("{of}epoch {}, {}", view.epoch, view.protocol);
            let mut rows = table(&["member", "number", "address", "has the state"], 4);
            for member in &view.members {
                let (node, addr) = (member.member.node, member.member.addr);
                let has = if member.has_state { "yes" } else { "not yet" };
                rows.add_row([
                    member.member.name.clone(),
                    node.to_string(),
                    addr.to_string(),
                    has.to_owned(),
                ]);
            }
            println!("{rows}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json((workload, view): (&String, &GroupView)) -> serde_json::Value {
    let standing = match view.standing {
        Standing::Member(_) => "member",
        Standing::Learner => "learner",
        Standing::Removed(_) => "removed",
    };
    let members = view.members.iter().map(|member| {
        json!({
            "name": member.member.name,
            "node": member.member.node.0,
            "addr": member.member.addr,
            "place": member.place.0,
            "has_state": member.has_state,
        })
    });
    json!({
        "workload": workload,
        "standing": standing,
        "epoch": view.epoch,
        "protocol": view.protocol.to_string(),
        "members": members.collect::<Vec<_>>(),
        "next_node": view.next_node.0,
        "complete": view.is_complete(),
    })
}
