//! Who is signed in at the dashboard, by the hash of what the browser holds.

use super::{
    Store, StoreError,
    session::values,
    tokens::{token_columns, token_from},
};
use crate::domain::{Timestamp, Token, TokenId};

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

    /// Forgets a sign-in. None is success.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sign_out(&self, hash: &[u8]) -> Result<(), StoreError> {
        let hash = hash.to_vec();
        self.write(move |session| {
            let hash = hash.clone();
            Box::pin(
                async move { session.execute("DELETE FROM sign_ins WHERE hash = $1", values![hash]).await.map(|_| ()) },
            )
        })
        .await
    }
}
