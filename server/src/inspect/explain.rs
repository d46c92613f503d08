//! `panchayat explain`.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use crate::admin::status::{Explained, Explanation, Wait};
use crate::admin::{AskError, Peer, encoded, get};
use crate::cli_inspect;
use crate::errors::{CliError, FAILED};

/// What `--json` prints.
#[derive(Serialize)]
struct Views<'a> {
    subject: &'a str,
    /// What each city that answered says.
    views: &'a [Explanation],
    /// Why others did not.
    errors: Vec<Value>,
}

pub(crate) async fn run(arguments: cli_inspect::Explain) -> Result<ExitCode, CliError> {
    let mut peers = arguments.of.peers()?;
    if let Some(site) = &arguments.site {
        let known: Vec<_> = peers.iter().map(|peer| peer.city.clone()).collect();
        peers.retain(|peer| peer.city == *site);
        if peers.is_empty() {
            return Err(CliError::UnknownSite { name: site.clone(), known: known.join(", ") });
        }
    }
    let kind = if arguments.key || !is_instance(&arguments.subject) { "key" } else { "instance" };
    let target = format!("/explain?{kind}={}", encoded(arguments.subject.as_bytes()));
    let (mut views, mut errors) = (Vec::new(), Vec::new());
    for peer in peers {
        match ask(&peer, &target).await {
            Ok(explanation) => views.push(explanation),
            Err(why) => errors.push((peer.city, why)),
        }
    }
    if arguments.of.json {
        let errors =
            errors.iter().map(|(city, why)| serde_json::json!({"city": city, "error": why}));
        let all = Views { subject: &arguments.subject, views: &views, errors: errors.collect() };
        println!("{}", serde_json::to_string_pretty(&all).map_err(CliError::Json)?);
    } else {
        views.iter().for_each(show);
        errors.iter().for_each(|(city, why)| eprintln!("{city}: {why}"));
    }
    Ok(if views.is_empty() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Whether it looks like `CITY/SLOT`.
fn is_instance(text: &str) -> bool {
    let parts = text.rsplit_once('/');
    parts.is_some_and(|(lane, slot)| !lane.is_empty() && slot.parse::<u64>().is_ok())
}

async fn ask(peer: &Peer, target: &str) -> Result<Explanation, String> {
    let addr = peer.admin.ok_or("its admin port is not known here: see `admin.peers`")?;
    let answer = get(addr, target).await.map_err(|error| error.to_string())?;
    let foreign = |source| AskError::Foreign { addr, source }.to_string();
    serde_json::from_slice(&answer).map_err(foreign)
}

fn show(explanation: &Explanation) {
    for Explained { workload, protocol, unexecuted, waits } in &explanation.explained {
        let name = match &workload[..] {
            "" => protocol.clone(),
            name => format!("{name}, {protocol}"),
        };
        println!("seen from {} ({name}; {unexecuted} in all not executed):", explanation.city);
        if waits.is_empty() {
            println!("  nothing waits");
        }
        waits.iter().for_each(|wait| println!("  {}", sentence(wait)));
    }
}

/// Such as `mumbai/812 waits on delhi/40, committed, for 80 ms, held up by delhi: why`.
fn sentence(wait: &Wait) -> String {
    let mut text = wait.instance.clone().unwrap_or_else(|| "a command".to_owned());
    if !wait.waits_on.is_empty() {
        text += &format!(" waits on {}", wait.waits_on.join(", "));
    }
    text += &format!(", {}", wait.stage);
    if let Some(ms) = wait.for_ms.filter(|_| wait.stage != "executed") {
        text += &format!(" for {ms:.0} ms");
    }
    if let Some(city) = &wait.held_by {
        text += &format!(", held up by {city}");
    }
    format!("{text}: {}", wait.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_a_sentence() {
        let wait = Wait {
            instance: Some("mumbai/812".into()),
            stage: "committed".into(),
            for_ms: Some(80.4),
            waits_on: vec!["delhi/40".into(), "delhi/41".into()],
            held_by: Some("delhi".into()),
            why: "it is decided".into(),
        };
        let told = "mumbai/812 waits on delhi/40, delhi/41, committed for 80 ms, held up by delhi: \
                    it is decided";
        assert_eq!(sentence(&wait), told);
        for (text, instance) in
            [("mumbai/812", true), ("slot/1", true), ("a/b", false), ("/1", false)]
        {
            assert_eq!(is_instance(text), instance, "{text}");
        }
    }
}
