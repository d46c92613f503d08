//! `AUTH` and `HELLO`: who a connection is, and which version of the protocol it speaks.

use bytes::Bytes;

use super::client::{REDIS_VERSION, check_name};
use super::encode::Resp;
use super::session::{Changes, Session, Step};
use crate::access::{DEFAULT_USER, Denied};
use crate::redis::{Reply, Spec, parse_integer};

/// The answer to whoever has to say first who it is.
pub(super) const NOAUTH: &str = "NOAUTH Authentication required.";
const NOAUTH_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, \
                            otherwise the HELLO AUTH <user> <pass> option can be used to \
                            authenticate the client and select the RESP protocol version at the \
                            same time";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const BUSY: &str = "TRYAGAIN too many passwords from there were wrong; try again in a second";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
                           default user. Are you sure your configuration is correct?";
const SYNTAX: &str = "ERR syntax error";

/// What a client says of itself in `HELLO`.
#[derive(Debug)]
pub(super) struct Hello {
    resp: Resp,
    name: Option<String>,
}

/// Whether anybody may use it, known or not.
pub(super) fn is_free(spec: &Spec) -> bool {
    matches!(spec.name, "AUTH" | "HELLO" | "RESET" | "QUIT")
}

/// Whether a command makes the connection somebody else.
pub(super) fn authenticates(spec: &Spec, args: &[Bytes]) -> bool {
    match spec.name {
        "AUTH" => true,
        "HELLO" => args.iter().any(|arg| arg.eq_ignore_ascii_case(b"auth")),
        _ => false,
    }
}

/// `AUTH`.
pub(super) fn auth(session: &Session, args: &[Bytes]) -> Step {
    match args {
        [_] if session.service.access.anonymous().is_some_and(|who| who.name == DEFAULT_USER) => {
            Step::Reply(Reply::error(NO_PASSWORD))
        }
        [password] => become_somebody(session, DEFAULT_USER.into(), password.clone(), None),
        [user, password] => become_somebody(session, user.clone(), password.clone(), None),
        _ => Step::Reply(Reply::error(SYNTAX)),
    }
}

/// `HELLO`.
pub(super) fn hello(session: &mut Session, args: &[Bytes]) -> Step {
    match read(session, args) {
        Ok((hello, Some((user, password)))) => {
            become_somebody(session, user, password, Some(hello))
        }
        Ok((hello, None)) => Step::Reply(greet(session, hello)),
        Err(error) => Step::Reply(error),
    }
}

/// `HELLO` that makes nobody somebody else.
pub(super) fn hello_now(session: &mut Session, args: &[Bytes]) -> Reply {
    match read(session, args) {
        Ok((_, Some(_))) => Reply::error(SYNTAX),
        Ok((hello, None)) => greet(session, hello),
        Err(error) => error,
    }
}

fn greet(session: &mut Session, hello: Hello) -> Reply {
    if session.account.is_none() {
        return Reply::error(NOAUTH_HELLO);
    }
    let reply = hello.answer(session.peer.id);
    hello.apply(session);
    reply
}

/// What `HELLO` says, and the user and password in it.
fn read(session: &Session, args: &[Bytes]) -> Result<(Hello, Option<(Bytes, Bytes)>), Reply> {
    let mut hello = Hello { resp: session.resp, name: None };
    let mut who = None;
    let Some(version) = args.first() else { return Ok((hello, who)) };
    hello.resp = match parse_integer(version) {
        Some(2) => Resp::Two,
        Some(3) => Resp::Three,
        Some(_) => return Err(Reply::error("NOPROTO unsupported protocol version")),
        None => return Err(Reply::error("ERR Protocol version is not an integer or out of range")),
    };
    let mut rest = &args[1..];
    loop {
        rest = match rest {
            [] => return Ok((hello, who)),
            [option, user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                who = Some((user.clone(), password.clone()));
                rest
            }
            [option, value, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                check_name("Client names", value)?;
                hello.name = Some(String::from_utf8_lossy(value).into_owned());
                rest
            }
            [option, ..] => {
                let option = String::from_utf8_lossy(option);
                let text = format!("ERR Syntax error in HELLO option '{option}'");
                return Err(Reply::error(text));
            }
        };
    }
}

/// Checks a password; whoever it was before, it stays if the password is wrong.
fn become_somebody(session: &Session, user: Bytes, password: Bytes, hello: Option<Hello>) -> Step {
    let (service, id) = (session.service.clone(), session.peer.id);
    let from = session.peer.addr.ip();
    Step::Steps(Box::pin(async move {
        let patience = service.limits.command_timeout;
        match service.access.authenticate(from, &user, &password, patience).await {
            Ok(account) => {
                let reply = hello.as_ref().map_or(Reply::OK, |hello| hello.answer(id));
                (reply, Changes { account: Some(account), hello, ..Changes::default() })
            }
            Err(Denied::Wrong) => (Reply::error(WRONGPASS), Changes::default()),
            Err(Denied::Busy) => (Reply::error(BUSY), Changes::default()),
        }
    }))
}

impl Hello {
    fn answer(&self, id: u64) -> Reply {
        let bulk = |text: &str| Reply::bulk(text);
        Reply::Map(vec![
            (bulk("server"), bulk("redis")),
            (bulk("version"), bulk(REDIS_VERSION)),
            (bulk("proto"), Reply::Integer(self.resp.number())),
            (bulk("id"), Reply::Integer(id as i64)),
            (bulk("mode"), bulk("standalone")),
            (bulk("role"), bulk("master")),
            (bulk("modules"), Reply::Array(Vec::new())),
        ])
    }

    pub(super) fn apply(self, session: &mut Session) {
        session.resp = self.resp;
        if let Some(name) = self.name {
            session.peer.about.lock().name = name;
        }
    }
}
