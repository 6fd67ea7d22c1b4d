//! Passwords, hashed with argon2id.

use super::error::{Error, Result};
use crate::server::problem::Problem;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use axum::http::StatusCode;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Characters of a password.
const CHARACTERS_MIN: usize = 10;
/// Bytes of a password: more would only be work for us.
const BYTES_MAX: usize = 1024;

/// Memory, passes and lanes of argon2id, as OWASP recommends them (19 MiB, 2, 1): some tens of milliseconds.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Passwords that are hashed at the same time, each with its memory.
const AT_ONCE_MAX: usize = 2;
/// Those and others that wait for it. Who comes then is asked to come again.
const WAITING_MAX: usize = 32;

/// Hashes passwords beside the server's other work, few at a time: logins can take neither all memory nor all
/// processors.
pub struct Passwords {
    /// A hash of nothing that anybody knows, for users that are not there.
    nobody: String,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// Gets ready.
    ///
    /// # Errors
    /// When a password cannot be hashed here.
    pub fn new() -> Result<Passwords> {
        Ok(Passwords {
            nobody: hash(&super::secret::make()?)?,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        })
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// As [`check`]; 503 when too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        check(&password)?;
        Ok(self.run(move || hash(&password)).await??)
    }

    /// Whether `password` is the one that `stored` was made of. Without `stored`, because there is no such user, it
    /// takes as long, and the answer is no.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Problem> {
        let is_somebody = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.clone());
        Ok(self.run(move || is_right(&password, &stored)).await? && is_somebody)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let busy = || {
            let title = "Too many are logging in at this moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-attempts", title).retry_after(2)
        };
        let place = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| busy())?;
        // The thread keeps both until it is done, whether or not the client still waits.
        let work = move || {
            let _kept = (place, turn);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal("hashing failed").into())
    }
}

/// Refuses what cannot be a password.
///
/// # Errors
/// `Bad`, with what is wrong.
pub fn check(password: &str) -> Result<()> {
    if password.chars().count() < CHARACTERS_MIN {
        return Err(Error::Bad(format!("A password needs at least {CHARACTERS_MIN} characters")));
    }
    if password.len() > BYTES_MAX {
        return Err(Error::Bad(format!("A password has at most {BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Hashes a password with a salt of its own: a PHC string. Slow.
///
/// # Errors
/// `Internal` when the system has no random bytes.
pub fn hash(password: &str) -> Result<String> {
    let hash: Result<PasswordHash, _> = argon2()?.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| Error::Internal("a password cannot be hashed"))
}

/// Slow, whatever the answer.
fn is_right(password: &str, stored: &str) -> bool {
    // What is too long was never taken, but must not be told apart sooner.
    let password = password.get(..BYTES_MAX).unwrap_or(password);
    // The parameters are those of the stored hash.
    argon2().is_ok_and(|argon2| argon2.verify_password(password.as_bytes(), stored).is_ok())
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|_| Error::Internal("argon2 refuses its parameters"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passwords_are_verified_and_nobody_has_one() {
        let passwords = Passwords::new().unwrap();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();

        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse".to_owned(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("correct horsf".to_owned(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
    }

    #[test]
    fn the_dummy_hash_costs_what_a_real_one_does() {
        let passwords = Passwords::new().unwrap();
        let parameters = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();

        assert_eq!(parameters(&passwords.nobody), parameters(&hash("something else").unwrap()));
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(check("123456789").is_err() && check("ééééééééé").is_err());
        assert!(check("1234567890").is_ok());
        assert!(check(&"x".repeat(BYTES_MAX + 1)).is_err());
    }

    #[tokio::test]
    async fn more_logins_than_may_wait_are_asked_to_come_again() {
        let passwords = Passwords::new().unwrap();
        let _all = passwords.places.clone().acquire_many_owned(32).await.unwrap();

        let refused = passwords.verify("correct horse".to_owned(), None).await.unwrap_err();

        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
