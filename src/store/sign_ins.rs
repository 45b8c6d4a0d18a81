//! Who is signed in at the dashboard, by the hash of what the browser holds.

use super::{
    Store, StoreError,
    session::{json_text, values},
    tokens::{token_columns, token_from},
};
use crate::domain::{Person, Timestamp, Token, TokenId};

/// Somebody whom an issuer has named, signed in.
#[derive(Debug, Clone)]
pub struct PersonSession {
    /// SHA-256 of what the browser holds.
    pub hash: [u8; 32],
    /// What the request that led to it is remembered by.
    pub request: [u8; 32],
    /// A digest of the settings that decided what they may do.
    pub settings: [u8; 32],
    /// Who.
    pub person: Person,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Store {
    /// Keeps that a token's holder is signed in until `expires_at`. Those whose time is over are forgotten.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sign_in(
        &self,
        token: TokenId,
        hash: &[u8],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let hash = hash.to_vec();
        self.write(move |session| {
            let hash = hash.clone();
            Box::pin(async move {
                session.execute("DELETE FROM sign_ins WHERE expires_at <= $1", values![now]).await?;
                let sql = "INSERT INTO sign_ins (hash, token_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";
                session.execute(sql, values![hash, token, now, expires_at]).await.map(|_| ())
            })
        })
        .await
    }

    /// The token of whoever is signed in with this hash.
    ///
    /// # Errors
    /// The database failed.
    pub async fn signed_in(&self, hash: &[u8], now: Timestamp) -> Result<Option<Token>, StoreError> {
        const SQL: &str = concat!(
            token_columns!(),
            " WHERE id = (SELECT token_id FROM sign_ins WHERE sign_ins.hash = $1 AND sign_ins.expires_at > $2)"
        );
        self.read().await?.first(SQL, values![hash, now]).await?.as_ref().map(token_from).transpose()
    }

    /// Keeps that a person is signed in; `false`, and nothing is kept, when the request has led to a session before.
    /// Sessions whose time is over are forgotten.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sign_in_person(&self, session: PersonSession, now: Timestamp) -> Result<bool, StoreError> {
        let access = json_text(&session.person.access)?;
        self.write(move |database| {
            let (of, access) = (session.clone(), access.clone());
            Box::pin(async move {
                database.execute("DELETE FROM person_sessions WHERE expires_at <= $1", values![now]).await?;
                let sql = "INSERT INTO person_sessions \
                           (hash, request, settings, name, subject, access, created_at, expires_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (request) DO NOTHING";
                let (hash, request, settings) = (of.hash.to_vec(), of.request.to_vec(), of.settings.to_vec());
                let Person { name, subject, .. } = of.person;
                let values = values![hash, request, settings, name, subject, access, now, of.expires_at];
                Ok(database.execute(sql, values).await? == 1)
            })
        })
        .await
    }

    /// The person who is signed in with this hash, let in by these settings.
    ///
    /// # Errors
    /// The database failed.
    pub async fn signed_in_person(
        &self,
        hash: &[u8],
        settings: &[u8],
        now: Timestamp,
    ) -> Result<Option<Person>, StoreError> {
        let sql = "SELECT name, subject, access FROM person_sessions \
                   WHERE hash = $1 AND settings = $2 AND expires_at > $3 AND ended_at IS NULL";
        let row = self.read().await?.first(sql, values![hash, settings, now]).await?;
        row.map(|row| Ok(Person { name: row.get("name")?, subject: row.get("subject")?, access: row.json("access")? }))
            .transpose()
    }

    /// Ends a session, whoever's. None is success.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sign_out(&self, hash: &[u8], now: Timestamp) -> Result<(), StoreError> {
        let hash = hash.to_vec();
        self.write(move |session| {
            let hash = hash.clone();
            Box::pin(async move {
                session.execute("DELETE FROM sign_ins WHERE hash = $1", values![hash.clone()]).await?;
                // Stays until its time is over: its request must lead to no other.
                let sql = "UPDATE person_sessions SET ended_at = $1 WHERE hash = $2 AND ended_at IS NULL";
                session.execute(sql, values![now, hash]).await.map(|_| ())
            })
        })
        .await
    }
}
