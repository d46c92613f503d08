//! Who may do what: users, their passwords and their rights.
//!
//! The configuration names users; without any, whoever can connect may do everything. Passwords are
//! kept as Argon2id hashes only. Checking one takes tens of milliseconds and tens of MiB on purpose, so
//! it is done off the threads of the runtime, a few at a time, for a few failures per address and second;
//! a password that was right once is known again by a keyed tag that lives as long as the process.
//!
//! | file | what |
//! |---|---|
//! | [`password`] | hashes, and what was right once |
//! | [`rights`] | which keys a user may read and write |
//! | [`modes`] | which keys a command reads and writes |
//! | [`throttle`] | failures per address and user |

mod modes;
mod password;
mod rights;
mod throttle;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

pub(crate) use self::password::{PASSWORD_BYTES_MAX, Password, PasswordError, hash};
use self::password::{Tagger, decoy};
pub(crate) use self::rights::{Rights, no_command};
use self::throttle::{Compared, Throttle};

/// The user of connections that have not said who they are.
pub(crate) const DEFAULT_USER: &str = "default";
/// Passwords checked at once: each takes the memory its hash asks for.
const CHECKS_MAX: usize = 2;

/// A user.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// Any of them will do. Without one nobody can become this user.
    pub(crate) passwords: Vec<Password>,
    pub(crate) rights: Rights,
}

/// All users.
#[derive(Debug)]
pub(crate) struct Access {
    accounts: BTreeMap<String, Arc<Account>>,
    /// Who everybody is at first, if that is anybody.
    anonymous: Option<Arc<Account>>,
    tagger: Tagger,
    checks: Arc<Semaphore>,
    throttle: Throttle,
    failures: AtomicU64,
}

/// Why somebody is not who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No such user, or another password.
    Wrong,
    /// It was not looked at: too many failures from there, or too much under way.
    Busy,
}

impl Access {
    /// For whoever can connect, everything.
    pub(crate) fn open() -> Self {
        let everyone =
            Account { name: DEFAULT_USER.to_owned(), passwords: Vec::new(), rights: Rights::all() };
        Self::new(Vec::new(), Some(everyone))
    }

    /// For `accounts`, and for `anonymous` without a password.
    pub(crate) fn new(accounts: Vec<Account>, anonymous: Option<Account>) -> Self {
        let named = |account: Account| (account.name.clone(), Arc::new(account));
        Self {
            accounts: accounts.into_iter().map(named).collect(),
            anonymous: anonymous.map(Arc::new),
            tagger: Tagger::new(),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            throttle: Throttle::default(),
            failures: AtomicU64::new(0),
        }
    }

    /// Who a connection is at first.
    pub(crate) fn anonymous(&self) -> Option<&Arc<Account>> {
        self.anonymous.as_ref()
    }

    /// How often somebody was not who they said.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The user called `name` if `password` is right.
    pub(crate) async fn authenticate(
        &self,
        from: IpAddr,
        name: &[u8],
        password: &[u8],
        patience: Duration,
    ) -> Result<Arc<Account>, Denied> {
        let anonymous = self.anonymous.as_ref().filter(|user| user.name.as_bytes() == name);
        if let Some(account) = anonymous {
            return Ok(account.clone());
        }
        let account = std::str::from_utf8(name).ok().and_then(|name| self.accounts.get(name));
        let guessed = account.map(|account| account.name.as_str());
        // Who is slowed down must not learn what was right either, and whoever learns that something is
        // wrong has paid for it, even if they do not wait for more.
        let compare = || account.map_or(Compared::Nothing, |user| self.compare(user, password));
        let compared = match (self.throttle.guess(from, guessed, compare), account) {
            (None, _) => return Err(Denied::Busy),
            (Some(Compared::Right), Some(known)) => return Ok(known.clone()),
            (Some(compared), _) => compared,
        };
        let permit = self.checks.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(patience, permit).await else {
            return Err(Denied::Busy);
        };
        if let Some(account) = account {
            // A guess is paid once.
            let paid = compared == Compared::Wrong;
            if !paid && !self.throttle.take_of_user(from, &account.name) {
                return Err(Denied::Busy);
            }
            // Another connection may have shown it meanwhile; that is no attempt at all.
            if self.compare(account, password) == Compared::Right {
                self.throttle.give_back_of_user(from, &account.name);
                return Ok(account.clone());
            }
        }
        // Before it is checked: many at once must not all find room. The user has paid all the same: that
        // it is not what was right before is known by now.
        if !self.throttle.take_of_all(from) {
            return Err(Denied::Busy);
        }
        let right = check(account.cloned(), password.to_vec(), permit).await;
        match (account, right) {
            (Some(account), Some(at)) => {
                self.throttle.give_back_of_user(from, &account.name);
                self.throttle.give_back_of_all(from);
                account.passwords[at].remember(&self.tagger, password);
                Ok(account.clone())
            }
            _ => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                // A name that nobody has may be a password typed too early.
                let user = account.map_or("(unknown)", |account| account.name.as_str());
                tracing::info!(%from, user, "a password was wrong");
                Err(Denied::Wrong)
            }
        }
    }

    /// Compares `password` with those of the account that were right before.
    fn compare(&self, account: &Account, password: &[u8]) -> Compared {
        // First: one that comes to be known in between must not be compared for nothing.
        if !account.passwords.iter().any(Password::was_right) {
            return Compared::Nothing;
        }
        match account.passwords.iter().any(|known| known.is_remembered(&self.tagger, password)) {
            true => Compared::Right,
            false => Compared::Wrong,
        }
    }
}

/// Which of the account's passwords it is. Takes as long for an account that does not exist.
async fn check(
    account: Option<Arc<Account>>,
    password: Vec<u8>,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Option<usize> {
    let checking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        match account.filter(|account| !account.passwords.is_empty()) {
            Some(account) => account.passwords.iter().position(|hash| hash.verify(&password)),
            None => {
                decoy().verify(&password);
                None
            }
        }
    });
    checking.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn account(name: &str, passwords: &[&str]) -> Account {
        let password = |text: &&str| Password::parse(&hash(text.as_bytes()).unwrap()).unwrap();
        let passwords = passwords.iter().map(password).collect();
        Account { name: name.to_owned(), passwords, rights: Rights::all() }
    }

    #[tokio::test]
    async fn only_the_right_password_makes_a_user() {
        let accounts = vec![account("shop", &["one", "two"]), account("locked", &[])];
        let access = Access::new(accounts, None);
        let ask = |name: &'static str, password: &'static str| {
            let (name, password) = (name.as_bytes(), password.as_bytes());
            access.authenticate(HERE, name, password, PATIENCE)
        };
        for _ in 0..2 {
            assert_eq!(ask("shop", "one").await.unwrap().name, "shop");
            assert_eq!(ask("shop", "two").await.unwrap().name, "shop");
            for (name, password) in
                [("shop", "three"), ("shop", ""), ("locked", "one"), ("locked", ""), ("x", "one")]
            {
                assert_eq!(ask(name, password).await.unwrap_err(), Denied::Wrong);
            }
        }
        assert_eq!(access.failures(), 10);
        assert_eq!(ask("", "").await.unwrap_err(), Denied::Wrong);
        let long = vec![b'x'; PASSWORD_BYTES_MAX + 1];
        let denied = access.authenticate(HERE, b"shop", &long, PATIENCE).await;
        assert_eq!(denied.unwrap_err(), Denied::Wrong);
    }

    #[tokio::test]
    async fn guessing_is_slowed_down_and_others_do_not_feel_it() {
        let access = Access::new(vec![account("shop", &["right"]), account("other", &["x"])], None);
        let ask = |name: &'static str, password: &'static str| {
            access.authenticate(HERE, name.as_bytes(), password.as_bytes(), PATIENCE)
        };
        ask("shop", "right").await.unwrap();
        let mut busy = 0;
        for _ in 0..throttle::BURST * 2 {
            let denied = ask("shop", "wrong").await.unwrap_err();
            busy += u32::from(denied == Denied::Busy);
        }
        assert!(busy > 0, "nobody was slowed down");
        // Not even the right one is told from others then, although it was right before.
        while ask("shop", "wrong").await.unwrap_err() == Denied::Wrong {}
        assert_eq!(ask("shop", "right").await.unwrap_err(), Denied::Busy);
        // Another user, or another address, is another matter.
        assert_eq!(ask("other", "x").await.unwrap().name, "other");
        let there = IpAddr::from([10, 0, 0, 1]);
        let asked = access.authenticate(there, b"shop", b"right", PATIENCE).await;
        assert_eq!(asked.unwrap().name, "shop");
    }

    #[tokio::test]
    async fn an_address_that_has_nothing_left_does_not_make_guesses_free() {
        let access = Access::new(vec![account("shop", &["right"])], None);
        let ask = |password: &'static str| {
            access.authenticate(HERE, b"shop", password.as_bytes(), PATIENCE)
        };
        ask("right").await.unwrap();
        while access.throttle.take_of_all(HERE) {}
        ask("right").await.expect("what is known needs no check");
        for _ in 0..throttle::BURST + 5 {
            assert_eq!(ask("wrong").await.unwrap_err(), Denied::Busy);
        }
        assert_eq!(ask("right").await.unwrap_err(), Denied::Busy, "guesses went on for nothing");
    }

    #[tokio::test]
    async fn who_does_not_wait_for_the_check_has_paid_for_the_comparison() {
        let access = Access::new(vec![account("shop", &["right"])], None);
        let ask = |password: &'static str, patience| {
            access.authenticate(HERE, b"shop", password.as_bytes(), patience)
        };
        ask("right", PATIENCE).await.unwrap();
        let busy = access.checks.clone().acquire_many_owned(CHECKS_MAX as u32).await.unwrap();
        for _ in 0..throttle::BURST + 5 {
            assert_eq!(ask("wrong", Duration::ZERO).await.unwrap_err(), Denied::Busy);
        }
        assert_eq!(ask("right", PATIENCE).await.unwrap_err(), Denied::Busy);
        drop(busy);
    }

    #[tokio::test]
    async fn a_check_costs_its_user_before_anything_was_right_too() {
        let access = Access::new(vec![account("shop", &["right"])], None);
        let busy = access.checks.clone().acquire_many_owned(CHECKS_MAX as u32).await.unwrap();
        let waiting = access.authenticate(HERE, b"shop", b"right", PATIENCE);
        let release = async {
            while access.throttle.take_of_user(HERE, "shop") {}
            drop(busy);
        };
        let (denied, ()) = tokio::join!(waiting, release);
        assert_eq!(denied.unwrap_err(), Denied::Busy);
    }

    #[tokio::test]
    async fn many_that_are_right_at_once_all_come_in() {
        let access = Arc::new(Access::new(vec![account("shop", &["right"])], None));
        let asked = (0..throttle::BURST * 3).map(|_| {
            let access = access.clone();
            tokio::spawn(
                async move { access.authenticate(HERE, b"shop", b"right", PATIENCE).await },
            )
        });
        for asked in asked.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap().unwrap().name, "shop");
        }
        assert_eq!(access.failures(), 0);
    }

    #[tokio::test]
    async fn without_users_everybody_is_the_default_one() {
        let access = Access::open();
        assert_eq!(access.anonymous().unwrap().name, DEFAULT_USER);
        assert!(access.authenticate(HERE, b"default", b"any", PATIENCE).await.is_ok());
        let denied = access.authenticate(HERE, b"x", b"any", PATIENCE).await;
        assert_eq!(denied.unwrap_err(), Denied::Wrong);
    }
}
