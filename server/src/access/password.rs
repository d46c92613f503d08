//! Passwords: hashed by Argon2id, and recognised by a tag once they were right.

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, Params};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use thiserror::Error;

/// Longest password.
pub(crate) const PASSWORD_BYTES_MAX: usize = 512;
/// What a hash may ask for: every attempt costs it.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// A password, as far as it is known: by its hash.
pub(crate) struct Password {
    hash: PasswordHash,
    /// Of the password that was right.
    tag: OnceLock<hmac::Tag>,
}

/// Why a text is no hash of a password, or a password has none.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PasswordError {
    #[error("it is no hash of a password")]
    Malformed,
    #[error("it is no Argon2id hash")]
    Algorithm,
    #[error("it costs more than 256 MiB, 16 passes or 16 lanes")]
    Cost,
    #[error("a password has 1 to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    #[error("it cannot be hashed: {0}")]
    Hash(String),
}

impl fmt::Debug for Password {
    /// Shows nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Reads a hash in PHC form: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
    pub(crate) fn parse(text: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(text).map_err(|_| PasswordError::Malformed)?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err(PasswordError::Algorithm);
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(PasswordError::Malformed);
        }
        let params = Params::try_from(&hash).map_err(|_| PasswordError::Malformed)?;
        let dear = params.m_cost() > MEMORY_KIB_MAX
            || params.t_cost() > PASSES_MAX
            || params.p_cost() > LANES_MAX;
        if dear {
            return Err(PasswordError::Cost);
        }
        Ok(Self { hash, tag: OnceLock::new() })
    }

    /// Whether `password` is it. Slow on purpose.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        is_length(password) && Argon2::default().verify_password(password, &self.hash).is_ok()
    }

    /// From here on `password`, which was right, is recognised.
    pub(super) fn remember(&self, tagger: &Tagger, password: &[u8]) {
        let _ = self.tag.set(hmac::sign(&tagger.0, password));
    }

    /// Whether somebody has had it right, so that there is something to recognise.
    pub(super) fn was_right(&self) -> bool {
        self.tag.get().is_some()
    }

    /// Whether `password` is the one that was right.
    pub(super) fn is_remembered(&self, tagger: &Tagger, password: &[u8]) -> bool {
        let verify = |tag: &hmac::Tag| hmac::verify(&tagger.0, password, tag.as_ref()).is_ok();
        is_length(password) && self.tag.get().is_some_and(verify)
    }
}

/// Makes tags by which right passwords are recognised: worth nothing outside this process.
#[derive(Debug)]
pub(super) struct Tagger(hmac::Key);

impl Tagger {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self(key.expect("the system has random numbers"))
    }
}

fn is_length(password: &[u8]) -> bool {
    (1..=PASSWORD_BYTES_MAX).contains(&password.len())
}

/// The hash of a password, as it stands in a configuration.
pub(crate) fn hash(password: &[u8]) -> Result<String, PasswordError> {
    if !is_length(password) {
        return Err(PasswordError::Length);
    }
    let hash: PasswordHash = Argon2::default()
        .hash_password(password)
        .map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(hash.to_string())
}

/// A hash that is compared with where there is no user, so that nobody learns which there are.
pub(super) fn decoy() -> &'static Password {
    static DECOY: LazyLock<Password> = LazyLock::new(|| {
        hash(b"nobody's").and_then(|hash| Password::parse(&hash)).expect("a hash of our own")
    });
    &DECOY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_salted_and_verify() {
        let (one, other) = (hash(b"secret").unwrap(), hash(b"secret").unwrap());
        assert_ne!(one, other);
        let password = Password::parse(&one).unwrap();
        assert!(password.verify(b"secret") && !password.verify(b"Secret") && !password.verify(b""));
        let (tagger, stranger) = (Tagger::new(), Tagger::new());
        assert!(!password.is_remembered(&tagger, b"secret"));
        password.remember(&tagger, b"secret");
        assert!(password.is_remembered(&tagger, b"secret"));
        assert!(!password.is_remembered(&tagger, b"other"));
        assert!(!password.is_remembered(&stranger, b"secret"));
        assert_eq!(format!("{password:?}"), "Password");
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        let good = hash(b"x").unwrap();
        for (text, error) in [
            ("secret".to_owned(), PasswordError::Malformed),
            ("$argon2id$v=19$m=19456,t=2,p=1".to_owned(), PasswordError::Malformed),
            (good.replacen("argon2id", "argon2d", 1), PasswordError::Algorithm),
            (good.replacen("m=19456", "m=4000000", 1), PasswordError::Cost),
            (good.replacen("t=2", "t=999", 1), PasswordError::Cost),
        ] {
            assert_eq!(Password::parse(&text).unwrap_err(), error, "{text}");
        }
        assert_eq!(hash(b"").unwrap_err(), PasswordError::Length);
        assert_eq!(hash(&[b'x'; 513]).unwrap_err(), PasswordError::Length);
    }
}
